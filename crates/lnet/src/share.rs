//! What addresses may take of something that there is so much of, each and all together.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard},
};

/// Something of which there is a limited number.
pub(crate) struct Shares {
    total: usize,
    of_one: usize,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    total: usize,
    by: HashMap<IpAddr, usize>,
}

/// One of them; given back when dropped.
pub(crate) struct Share {
    shares: Arc<Shares>,
    by: IpAddr,
}

/// Why there is none left.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Exhausted {
    /// All addresses together have this many.
    Total(usize),
    /// The address has this many.
    OfOne(usize),
}

impl Shares {
    /// So many for all, and so many for each address.
    pub(crate) fn new(total: usize, of_one: usize) -> Arc<Self> {
        Arc::new(Self { total, of_one, taken: Mutex::default() })
    }

    /// One more for an address. Errors: it has its share, or all are taken.
    pub(crate) fn take(self: &Arc<Self>, by: IpAddr) -> Result<Share, Exhausted> {
        // An IPv4 address is the same one over an IPv6 socket.
        let by = by.to_canonical();
        let mut taken = self.taken();
        if taken.total >= self.total {
            return Err(Exhausted::Total(taken.total));
        }
        let own = taken.by.entry(by).or_default();
        if *own >= self.of_one {
            return Err(Exhausted::OfOne(*own));
        }
        *own += 1;
        taken.total += 1;
        Ok(Share { shares: Arc::clone(self), by })
    }

    /// How many are taken.
    pub(crate) fn count(&self) -> usize {
        self.taken().total
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().expect("no code panics under this lock")
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.shares.taken();
        taken.total -= 1;
        if let Some(own) = taken.by.get_mut(&self.by) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.by);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_has_its_share_and_gives_it_back() {
        let shares = Shares::new(3, 2);
        let [one, other]: [IpAddr; 2] = ["10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
        let (first, _second) = (shares.take(one).unwrap(), shares.take("::ffff:10.0.0.1".parse().unwrap()).unwrap());
        assert_eq!(shares.take(one).err(), Some(Exhausted::OfOne(2)));
        let _third = shares.take(other).unwrap();
        assert_eq!(shares.take(other).err(), Some(Exhausted::Total(3)));
        drop(first);
        assert_eq!(shares.count(), 2);
        drop(shares.take(other).unwrap());
        assert_eq!(shares.taken().by.len(), 2, "who has none is forgotten");
    }
}
