//! What a running node reads again when its operator asks for it (SIGHUP): how much it logs, and the text of its network.

use std::rc::Rc;

use log::LevelFilter;

use super::Driver;
use crate::shell::journal;
use crate::types::network::Network;

/// Reads the configuration again. An error says what is wrong with it and what to do.
pub type Reload = Box<dyn Fn() -> Result<Fresh, String>>;

/// A configuration that was read again, and is right.
pub struct Fresh {
    pub network: Network,
    pub log: LevelFilter,
    /// Keys that have changed and count from the next start only.
    pub later: Vec<&'static str>,
}

impl Driver {
    /// Reads the configuration again. What is wrong changes nothing: the node goes on as it was.
    pub(super) fn reload(&mut self) {
        self.service.reloading();
        let fresh = (self.reload)().and_then(|fresh| match self.refusal(&fresh.network) {
            Some(why) => Err(why),
            None => Ok(fresh),
        });
        match fresh {
            Ok(fresh) => self.renew(fresh),
            Err(why) => log::error!("not reloaded, the node goes on as it was: {why}"),
        }
        self.service.ready();
    }

    fn renew(&mut self, fresh: Fresh) {
        let now = self.clock.now();
        let Fresh { network, log, later } = fresh;
        journal::set_level(log);
        for key in later {
            log::warn!("{key} has changed: it counts from the next start");
        }
        if network == *self.engine.borrow().network() {
            log::info!("reloaded: the network is as it was, the log is {log}");
            return;
        }
        let renewed = self.engine.borrow_mut().renew(Rc::new(network), now);
        match renewed {
            Ok(step) => {
                if step.is_lost {
                    self.forget();
                }
                log::info!(
                    "reloaded: the node goes on with the new network file, the log is {log}"
                );
            }
            Err(error) => log::error!("the new network file is not taken: {error}"),
        }
    }

    /// Why a node does not go on with another text of its network.
    fn refusal(&self, network: &Network) -> Option<String> {
        let engine = self.engine.borrow();
        let held = engine.network();
        if network.id() != held.id() {
            return Some(
                "it is another network; stop the node, and give it another data_dir".to_owned(),
            );
        }
        let (round, _) = held.clock.at(self.clock.now().wall)?;
        let in_force = |network: &Network| {
            let entries = network.entries().iter();
            entries.take_while(|entry| entry.from_round <= round).cloned().collect::<Vec<_>>()
        };
        (in_force(network) != in_force(held)).then(|| {
            "parameters that are in force already are others there: a chain cannot change what it was \
             built by; put them back, and add new ones with a from_round to come"
                .to_owned()
        })
    }
}
