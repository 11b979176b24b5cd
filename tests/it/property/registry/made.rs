//! Random ledgers: few people, IPs, ports and addresses, so that they get in each other's way; and the file they lie in.

use hypernode::types::address::Address;
use hypernode::types::rng::Rng;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use rusqlite::types::Value as Cell;
use rusqlite::{Connection, params};
use tempfile::TempDir;

use super::slow::{Form, Law, Money, Row};

const TABLE: &str = "CREATE TABLE transactions (block_height INTEGER, timestamp NUMERIC, address TEXT, \
     recipient TEXT, amount NUMERIC, signature TEXT, public_key TEXT, block_hash TEXT, fee NUMERIC, \
     reward NUMERIC, operation TEXT, openfield TEXT)";

/// What a row is for.
#[derive(Debug, Clone)]
pub enum Act {
    Pay {
        from: String,
        to: String,
        amount: Money,
        fee: Money,
    },
    Register {
        who: String,
        data: String,
    },
    /// With data of its own, or that of an earlier row.
    Unregister {
        who: String,
        data: String,
        again: Option<Index>,
    },
    /// Whoever is behind an earlier row unregisters with its data and registers with other ones.
    Move {
        again: Index,
        data: String,
    },
}

/// What a block is made of.
#[derive(Debug, Clone)]
pub struct BlockDraw {
    gap: u64,
    later_ms: u64,
    acts: Vec<(Act, bool)>,
    /// Where the row of the miner stands, who it is, and the reward.
    miner: (Index, String, Money),
    /// A cell that holds no amount: in which row and column.
    damage: Option<(Index, usize, Money)>,
}

fn person() -> impl Strategy<Value = String> {
    let people = ["8e3f9eca", "11", "2a", "ff"].map(|it| it.repeat(56 / it.len()));
    let strange = [&*people[0].to_uppercase(), &people[1][1..], "", "genesis"].map(str::to_owned);
    prop_oneof![12 => select(people.to_vec()), 2 => Just(controller()), 1 => select(strange.to_vec())]
}

/// Who may remove anybody: the one of the main network.
pub fn controller() -> String {
    "cf2562488992997dff3658e455701589678d0e966a79e2a037cbb2ff".to_owned()
}

fn data() -> impl Strategy<Value = String> {
    let address = |key: u8, prefix: u8| Address::of_bytes(&[key; 32], prefix).to_string();
    let good = [1, 2, 3].map(|key| address(key, 0x19));
    let mistyped = format!("{}1", &good[0][..good[0].len() - 1]);
    let strange = [mistyped, address(1, 0x55), String::new(), format!("1{}", good[1])];
    let ips = ["203.0.113.1", "203.0.113.2", "8.8.8.8"].map(str::to_owned);
    let odd = ["10.0.0.1", "172.31.0.1", "203.0.113.01", "1.2.3.256", "1.2.3", "+8.8.8.8"];
    let address = prop_oneof![14 => select(good.to_vec()), 1 => select(strange.to_vec())];
    let ip = prop_oneof![14 => select(ips.to_vec()), 2 => select(odd.map(str::to_owned).to_vec())];
    let port = prop_oneof![
        14 => select(vec!["6969", "6969", "1", "65535"]),
        1 => select(vec!["0", "065", "65536", "+1", ""]),
    ];
    let option = prop_oneof![
        person().prop_map(|who| format!("source={who}")),
        person().prop_map(|who| format!("reward={who}")),
        select(vec!["colour=red", "=", "reason=a:b", "reason=", "", "a", "a=b=c", "a=1,a=2"])
            .prop_map(str::to_owned),
    ];
    let options = prop_oneof![6 => Just(Vec::new()), 4 => vec(option, 1..3)];
    (ip, port, address, options).prop_map(|(ip, port, address, options)| {
        let options: String = options.iter().map(|option| format!(",{option}")).collect();
        format!("{ip}:{port}:{address}{options}")
    })
}

fn money(texts: &[&'static str]) -> impl Strategy<Value = Money> + use<> {
    let forms = select(vec![Form::Plain, Form::Plain, Form::Real, Form::Text, Form::Exponent]);
    (select(texts.to_vec()), forms).prop_map(|(text, form)| Money { text: text.to_owned(), form })
}

fn amount() -> impl Strategy<Value = Money> {
    money(&[
        "0",
        "1",
        "-1",
        "5000.5",
        "10000",
        "10000",
        "10000.00000001",
        "9999.99999999",
        "20000",
        "30000.5",
        "0.00000001",
        "0.000000005",
        "0.000000015",
        "0.0000000151",
        "-10000",
    ])
}

fn no_amount() -> impl Strategy<Value = Money> {
    let blank = select(vec![Form::Null, Form::Blob]);
    prop_oneof![
        blank.prop_map(|form| Money { text: "1".to_owned(), form }),
        money(&["1000000000000", "-100000000001", "100000000000.5"]),
        Just(Money { text: "NaN".to_owned(), form: Form::Text }),
    ]
}

fn act() -> impl Strategy<Value = Act> {
    let small = money(&["0", "0.01", "0.00000001", "1"]);
    let pay = (prop_oneof![person(), Just("x".to_owned())], person(), amount(), small);
    prop_oneof![
        5 => pay.prop_map(|(from, to, amount, fee)| Act::Pay { from, to, amount, fee }),
        5 => (person(), data()).prop_map(|(who, data)| Act::Register { who, data }),
        2 => (person(), data(), proptest::option::weighted(0.8, any::<Index>()))
            .prop_map(|(who, data, again)| Act::Unregister { who, data, again }),
        2 => (any::<Index>(), data()).prop_map(|(again, data)| Act::Move { again, data }),
    ]
}

pub fn acts(most: usize) -> impl Strategy<Value = Vec<(Act, bool)>> {
    vec((act(), proptest::bool::weighted(0.1)), 0..most)
}

pub fn blocks(number: std::ops::Range<usize>) -> impl Strategy<Value = Vec<BlockDraw>> {
    let miner = (any::<Index>(), person(), money(&["0", "15", "10000", "9.5", "0.00000001"]));
    let cell = (any::<Index>(), 0..3_usize, no_amount());
    let damage = proptest::option::weighted(0.02, cell);
    let block = (1..4_u64, 0..3_000_u64, acts(6), miner, damage).prop_map(
        |(gap, later, acts, miner, damage)| BlockDraw {
            gap,
            later_ms: later * 1_000 + 10,
            acts,
            miner,
            damage,
        },
    );
    vec(block, number)
}

/// Makes rows of what was drawn, no two blocks alike.
#[derive(Debug)]
pub struct Maker {
    pub height: u64,
    time_ms: u64,
    nonce: u64,
    /// Who registered or tried to, with which data.
    orders: Vec<(String, String)>,
}

impl Maker {
    pub fn new(law: &Law) -> Maker {
        Maker {
            height: 0,
            time_ms: law.origin_ms,
            nonce: 0,
            orders: vec![(controller(), "::".to_owned())],
        }
    }

    /// The rows of a next block.
    pub fn block(&mut self, draw: &BlockDraw) -> Vec<Row> {
        self.height += draw.gap;
        self.time_ms += draw.later_ms;
        let mut rows = self.rows(&draw.acts, self.height);
        let (at, who, reward) = &draw.miner;
        self.nonce += 1;
        let mut row = self.row(self.height, "miner", who);
        // Something of its own also in a block that nobody was rewarded for.
        row.amount.text = format!("0.{:08}", self.nonce);
        row.reward = reward.clone();
        if self.nonce % 5 == 0 {
            // More than a round back: miners' clocks differ.
            row.time -= 4_000_000;
        }
        rows.insert(at.index(rows.len() + 1), row);
        if let Some((at, column, money)) = &draw.damage {
            let row = at.index(rows.len());
            let row = &mut rows[row];
            *[&mut row.amount, &mut row.fee, &mut row.reward][*column] = money.clone();
        }
        rows
    }

    /// Rows of a height.
    pub fn rows(&mut self, acts: &[(Act, bool)], height: u64) -> Vec<Row> {
        let mut rows = Vec::new();
        for (act, is_mirror) in acts {
            let mut made = self.rows_of(act, height);
            if *is_mirror {
                made.iter_mut().for_each(|row| row.height = -row.height);
            }
            rows.extend(made);
        }
        rows
    }

    fn rows_of(&mut self, act: &Act, height: u64) -> Vec<Row> {
        match act {
            Act::Pay { from, to, amount, fee } => {
                let (amount, fee) = (amount.clone(), fee.clone());
                vec![Row { amount, fee, ..self.row(height, from, to) }]
            }
            Act::Register { who, data } => vec![self.register(height, who, data)],
            Act::Unregister { who, data, again } => {
                let data = again.map_or(data, |at| &at.get(&self.orders).1);
                vec![self.order(height, who, "hypernode:unregister", data)]
            }
            Act::Move { again, data } => {
                let (who, before) = again.get(&self.orders).clone();
                let leave = self.order(height, &who, "hypernode:unregister", &before);
                vec![leave, self.register(height, &who, data)]
            }
        }
    }

    fn register(&mut self, height: u64, who: &str, data: &str) -> Row {
        self.orders.push((who.to_owned(), data.to_owned()));
        self.order(height, who, "hypernode:register", data)
    }

    fn order(&self, height: u64, who: &str, operation: &str, data: &str) -> Row {
        let (operation, data) = (operation.to_owned(), data.to_owned());
        Row { operation, data, ..self.row(height, who, who) }
    }

    fn row(&self, height: u64, from: &str, to: &str) -> Row {
        let nothing = Money { text: "0".to_owned(), form: Form::Plain };
        Row {
            height: i64::try_from(height).expect("low"),
            time: self.time_ms,
            sender: from.to_owned(),
            recipient: to.to_owned(),
            amount: nothing.clone(),
            fee: nothing.clone(),
            reward: nothing,
            operation: String::new(),
            data: String::new(),
            hash: format!("block {}", self.nonce),
        }
    }
}

/// The cell in which it lies.
fn cell(money: &Money) -> Cell {
    let text = money.text.clone();
    let real = || Cell::Real(money.text.parse().expect("a number"));
    match money.form {
        Form::Plain => money.text.parse().map_or_else(|_| real(), Cell::Integer),
        Form::Real => real(),
        Form::Text => Cell::Text(text),
        Form::Exponent => {
            let decimals = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
            Cell::Text(format!("{}e-{decimals}", text.replace('.', "")))
        }
        Form::Null => Cell::Null,
        Form::Blob => Cell::Blob(vec![0; 3]),
    }
}

/// The ledger of the companion, which we write here.
pub struct Written {
    dir: TempDir,
    connection: Connection,
}

impl Written {
    /// As the companion declares its columns, or with columns that keep what they are given, so that text stays text.
    pub fn new(keeps_text: bool, has_index: bool) -> Written {
        let dir = tempfile::tempdir().expect("a directory");
        let connection = Connection::open(dir.path().join("ledger.db")).expect("a database");
        connection.execute_batch("PRAGMA synchronous = OFF").expect("nobody cuts the power");
        let table = if keeps_text { TABLE.replace(" NUMERIC", "") } else { TABLE.to_owned() };
        connection.execute(&table, []).expect("a table");
        if has_index {
            let sql = "CREATE INDEX heights ON transactions (block_height)";
            connection.execute(sql, []).expect("an index");
        }
        Written { dir, connection }
    }

    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("ledger.db")
    }

    /// Appends rows, all at once.
    pub fn append(&self, rows: &[Row]) {
        self.connection.execute_batch("BEGIN").expect("nobody else writes");
        let sql =
            "INSERT INTO transactions VALUES (?1, ?2, ?3, ?4, ?5, '', '', ?6, ?7, ?8, ?9, ?10)";
        let mut statement = self.connection.prepare(sql).expect("it is SQL");
        for row in rows {
            let Row { height, sender, recipient, operation, data, hash, .. } = row;
            let time = format!("{}.{:03}", row.time / 1_000, row.time % 1_000);
            let [amount, fee, reward] = [&row.amount, &row.fee, &row.reward].map(cell);
            let cells = params![
                height, time, sender, recipient, amount, hash, fee, reward, operation, data
            ];
            statement.execute(cells).expect("a row");
        }
        self.connection.execute_batch("COMMIT").expect("kept");
    }

    /// Takes all blocks above a height away.
    pub fn cut(&self, height: u64) {
        let sql = "DELETE FROM transactions WHERE abs(block_height) > ?1";
        self.connection.execute(sql, [i64::try_from(height).expect("low")]).expect("cut");
    }

    /// Appends so many blocks behind a height that move nothing.
    pub fn fill(&self, height: u64, number: u64) {
        let sql = "WITH RECURSIVE n(i) AS (SELECT ?1 + 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1 + ?2) \
                   INSERT INTO transactions SELECT i, 0, 'x', 'y', 0, '', '', '', 0, 0, '', '' FROM n";
        let bounds = [height, number].map(|it| i64::try_from(it).expect("low"));
        self.connection.execute(sql, bounds).expect("rows");
    }
}

/// Puts rows out of order.
pub fn shuffle(rows: &mut [Row], seed: u64) {
    let mut rng = Rng::from_text(&seed.to_string());
    for at in (1..rows.len()).rev() {
        rows.swap(at, rng.index(at + 1));
    }
}
