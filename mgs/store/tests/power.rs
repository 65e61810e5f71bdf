//! Power loss at any moment, with writes torn, reordered and lost as disks do, keeps every acknowledged commit.
//!
//! A run on a recording disk gives a log of writes and syncs. A crash is a cut in that log: what was synced before is
//! there; of what was not, each 512-byte sector made it or not, at random. `POWER_CUTS` sets how many are tried, and
//! `POWER_FIRST` with which seed they begin: slices of one long series. A seed that fails is printed.

// A panic is how a test reports.
#![allow(clippy::unwrap_used)]

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use lustre_mgs_store::{Meta, OpenError, RedbStore, Store, StoreError, Txn};
use redb::StorageBackend;

#[derive(Clone, Debug)]
enum DiskOp {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

/// A disk that remembers what happened to it.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<(Vec<u8>, Vec<DiskOp>)>>, Arc<AtomicBool>);

impl Disk {
    fn with(image: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new((image, Vec::new()))), Arc::default())
    }
    /// From now on nothing can be written, as on a full or broken disk.
    fn fail(&self) {
        self.1.store(true, Ordering::Relaxed);
    }
    fn check(&self) -> io::Result<()> {
        if self.1.load(Ordering::Relaxed) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
    fn log(&self) -> Vec<DiskOp> {
        self.0.lock().unwrap().1.clone()
    }
}

fn write_to(image: &mut Vec<u8>, offset: u64, data: &[u8]) {
    let start = usize::try_from(offset).unwrap();
    let end = start + data.len();
    image.resize(image.len().max(end), 0);
    image[start..end].copy_from_slice(data);
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().0.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let disk = self.0.lock().unwrap();
        out.copy_from_slice(disk.0.get(start..start + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.check()?;
        let mut disk = self.0.lock().unwrap();
        disk.0.resize(usize::try_from(len).unwrap(), 0);
        disk.1.push(DiskOp::SetLen(len));
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        self.check()?;
        self.0.lock().unwrap().1.push(DiskOp::Sync);
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.check()?;
        let mut disk = self.0.lock().unwrap();
        write_to(&mut disk.0, offset, data);
        disk.1.push(DiskOp::Write(offset, data.to_vec()));
        Ok(())
    }
}

/// Small, seeded, good enough to pick cuts and sectors (splitmix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n as u64).unwrap()
    }
}

/// What is on the disk when the power fails before operation `cut` of `log`; `honest`: syncs do what they say.
fn after_power_loss(start: &[u8], log: &[DiskOp], cut: usize, honest: bool, random: &mut Random) -> Vec<u8> {
    let synced = if honest { log[..cut].iter().rposition(|op| matches!(op, DiskOp::Sync)).unwrap_or(0) } else { 0 };
    let mut image = start.to_vec();
    for (at, op) in log[..cut].iter().enumerate() {
        match op {
            DiskOp::Sync => {}
            DiskOp::SetLen(len) => image.resize(usize::try_from(*len).unwrap(), 0),
            DiskOp::Write(offset, data) if at < synced => write_to(&mut image, *offset, data),
            DiskOp::Write(offset, data) => {
                let (lose_one_in, mut from) = (1 + random.below(4), 0);
                while from < data.len() {
                    let sector_end = 512 - usize::try_from((offset + from as u64) % 512).unwrap();
                    let to = data.len().min(from + sector_end);
                    if random.below(lose_one_in + 1) != 0 {
                        write_to(&mut image, offset + from as u64, &data[from..to]);
                    }
                    from = to;
                }
            }
        }
    }
    image
}

/// A run of commits: the disk when it began, the log, and after which length of the log each revision was acknowledged.
struct Run {
    start: Vec<u8>,
    log: Vec<DiskOp>,
    acknowledged: Vec<usize>,
}

const COMMITS: u64 = 30;

async fn run() -> Run {
    let disk = Disk::default();
    drop(RedbStore::open_on(disk.clone()).unwrap());
    let start = disk.0.lock().unwrap().0.clone();
    let disk = Disk::with(start.clone());
    let store = RedbStore::open_on(disk.clone()).unwrap();
    let mut acknowledged = Vec::new();
    for n in 0..COMMITS {
        let meta = Meta { time_ms: n, who: "test".into(), why: "power".into() };
        let txn = Txn::new(meta).put(format!("key {}", n % 5), n.to_string().repeat(100)).put(format!("n{n}"), "");
        store.commit(txn).await.unwrap();
        acknowledged.push(disk.log().len());
        if n == 17 {
            store.compact(9).await.unwrap();
        }
    }
    drop(store);
    Run { start, log: disk.log(), acknowledged }
}

/// Opens what is left and says which acknowledged commit is missing or torn.
async fn loss(image: Vec<u8>, acknowledged: usize) -> Result<(), String> {
    let disk = Disk::with(image);
    let store = match std::panic::catch_unwind(|| RedbStore::open_on(disk)) {
        Ok(opened) => opened.map_err(|err: OpenError| err.to_string())?,
        Err(_) => return Err("redb panicked".into()),
    };
    if store.head() < acknowledged as u64 {
        return Err(format!("head is {}, acknowledged was {acknowledged}", store.head()));
    }
    for n in 0..store.head() {
        let (key, expected) = (format!("key {}", n % 5), n.to_string().repeat(100));
        // Every commit that shows at all shows whole.
        let whole = store.get(&format!("n{n}"), None).await.map_err(|err| err.to_string())?.is_some();
        let newest = store.head() - n <= 5;
        let value = store.get(&key, None).await.map_err(|err| err.to_string())?;
        if !whole || (newest && value.map(|entry| entry.value.to_vec()) != Some(expected.into_bytes())) {
            return Err(format!("commit {} is torn", n + 1));
        }
    }
    Ok(())
}

fn cuts() -> usize {
    std::env::var("POWER_CUTS").map_or(300, |cuts| cuts.parse().expect("POWER_CUTS is a number"))
}

fn first() -> u64 {
    std::env::var("POWER_FIRST").map_or(0, |first| first.parse().expect("POWER_FIRST is a number"))
}

fn acknowledged_before(run: &Run, cut: usize) -> usize {
    run.acknowledged.iter().filter(|at| **at <= cut).count()
}

#[tokio::test]
async fn power_loss_at_any_write_loses_nothing_acknowledged() {
    let run = run().await;
    for seed in first()..first() + cuts() as u64 {
        let mut random = Random(seed);
        let cut = random.below(run.log.len() + 1);
        let mut image = after_power_loss(&run.start, &run.log, cut, true, &mut random);
        if seed % 3 == 0 {
            // The power fails again while the store repairs itself.
            let disk = Disk::with(image.clone());
            drop(RedbStore::open_on(disk.clone()).unwrap());
            let repair = disk.log();
            let cut = random.below(repair.len() + 1);
            image = after_power_loss(&image, &repair, cut, true, &mut random);
        }
        let lost = loss(image, acknowledged_before(&run, cut)).await;
        assert_eq!(lost, Ok(()), "seed {seed}, cut at {cut} of {}", run.log.len());
    }
}

/// The control: where syncs are lies the same test must find losses, or it finds nothing at all.
#[tokio::test]
async fn a_disk_that_lies_about_syncs_is_found_out() {
    let run = run().await;
    let mut losses = 0;
    for seed in 0..20 {
        let mut random = Random(seed);
        let cut = run.log.len() / 2 + random.below(run.log.len() / 2);
        let image = after_power_loss(&run.start, &run.log, cut, false, &mut random);
        losses += usize::from(loss(image, acknowledged_before(&run, cut)).await.is_err());
    }
    assert!(losses >= 18, "only {losses} of 20 crashes of a lying disk were noticed");
}

#[tokio::test]
async fn a_full_disk_stops_changes_but_not_reads_and_loses_nothing() {
    let disk = Disk::default();
    let store = RedbStore::open_on(disk.clone()).unwrap();
    let txn = |key: &str| Txn::new(Meta { time_ms: 0, who: "test".into(), why: "full".into() }).put(key, key);
    store.commit(txn("before")).await.unwrap();
    disk.fail();
    for key in ["during", "after"] {
        let refused = store.commit(txn(key)).await;
        assert!(matches!(refused, Err(StoreError::Failed { .. })), "{refused:?}");
    }
    assert_eq!(store.head(), 1, "a change that failed is not shown");
    assert!(store.get("before", None).await.unwrap().is_some(), "reads go on");
    assert_eq!(store.get("during", None).await.unwrap(), None);
    let image = disk.0.lock().unwrap().0.clone();
    drop(store);
    let store = RedbStore::open_on(Disk::with(image)).unwrap();
    assert!(store.get("before", None).await.unwrap().is_some());
    store.commit(txn("again")).await.unwrap();
}
