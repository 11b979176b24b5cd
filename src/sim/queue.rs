//! What is to happen, by (virtual time, sequence), and one timer per host.
//!
//! Hosts wake once a second and move their timer with every event: a tree of timers is updated in place, so that no
//! dead entries pile up in the heap.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// No timer runs.
pub const NEVER: u64 = u64::MAX;

/// Tasks and timers of the world.
pub struct Queue<T> {
    tasks: BinaryHeap<Reverse<Entry<T>>>,
    sequence: u64,
    timers: Timers,
}

/// What comes next.
pub enum Next<T> {
    Task(T),
    /// The timer of this host.
    Wake(usize),
}

struct Entry<T> {
    time: u64,
    sequence: u64,
    task: T,
}

impl<T> PartialEq for Entry<T> {
    fn eq(&self, other: &Self) -> bool {
        (self.time, self.sequence) == (other.time, other.sequence)
    }
}

impl<T> Eq for Entry<T> {}

impl<T> PartialOrd for Entry<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Entry<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.time, self.sequence).cmp(&(other.time, other.sequence))
    }
}

impl<T> Queue<T> {
    /// Nothing to do, for this many hosts.
    pub fn new(hosts: usize) -> Queue<T> {
        Queue { tasks: BinaryHeap::new(), sequence: 0, timers: Timers::new(hosts) }
    }

    /// Adds a task. Tasks of one time happen in the order in which they were added.
    pub fn add(&mut self, time: u64, task: T) {
        self.sequence += 1;
        self.tasks.push(Reverse(Entry { time, sequence: self.sequence, task }));
    }

    /// Sets the timer of a host.
    pub fn arm(&mut self, host: usize, time: u64) {
        self.timers.set(host, time);
    }

    /// Takes out what comes next, at or before `until`. Tasks come before timers of the same time. A timer that has
    /// come is off until it is set again.
    pub fn pop(&mut self, until: u64) -> Option<(u64, Next<T>)> {
        let (wake, host) = self.timers.first();
        let task = self.tasks.peek().map_or(NEVER, |Reverse(entry)| entry.time);
        let time = task.min(wake);
        if time > until || time == NEVER {
            return None;
        }
        if task <= wake {
            let Reverse(entry) = self.tasks.pop()?;
            return Some((entry.time, Next::Task(entry.task)));
        }
        self.timers.set(host, NEVER);
        Some((wake, Next::Wake(host)))
    }
}

/// A tournament tree: leaves are the hosts' times, each node above is the smaller of the two below.
struct Timers {
    /// Node 1 is the root; leaves start in the middle.
    tree: Vec<(u64, usize)>,
}

impl Timers {
    fn new(hosts: usize) -> Timers {
        let leaves = hosts.next_power_of_two();
        let tree = (0..2 * leaves).map(|node| (NEVER, node.saturating_sub(leaves))).collect();
        Timers { tree }
    }

    fn set(&mut self, host: usize, time: u64) {
        let mut node = self.tree.len() / 2 + host;
        if self.tree[node].0 == time {
            return;
        }
        self.tree[node] = (time, host);
        while node > 1 {
            node /= 2;
            let smaller = self.tree[2 * node].min(self.tree[2 * node + 1]);
            if self.tree[node] == smaller {
                break;
            }
            self.tree[node] = smaller;
        }
    }

    fn first(&self) -> (u64, usize) {
        self.tree[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_and_timers_come_in_order_of_time() {
        let mut queue = Queue::new(3);
        queue.add(5, "b");
        queue.add(5, "c");
        queue.add(2, "a");
        queue.arm(2, 5);
        queue.arm(0, 9);
        queue.arm(0, 4);
        let mut seen = Vec::new();
        while let Some((time, next)) = queue.pop(7) {
            seen.push(match next {
                Next::Task(task) => format!("{time}{task}"),
                Next::Wake(host) => format!("{time}w{host}"),
            });
        }
        assert_eq!(seen, ["2a", "4w0", "5b", "5c", "5w2"]);
        queue.arm(1, 8);
        assert!(queue.pop(7).is_none());
        assert!(matches!(queue.pop(8), Some((8, Next::Wake(1)))));
        assert!(queue.pop(NEVER).is_none());
    }
}
