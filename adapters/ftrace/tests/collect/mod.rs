//! A sink that checks the promises of the contract and keeps what tests ask for.

use kstrace_ftrace::{FtracePlan, FtraceSource};
use kstrace_schema::{
    ClassId, ClassRegistry, Cpu, EventRecord, EventRecordClass, HopAccount, Loss, RecordStream,
    Result, SessionTime, Sink, Source, SourceId,
};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(crate) const SOURCE: SourceId = SourceId(3);

#[derive(Default)]
pub(crate) struct Collected {
    pub(crate) classes: BTreeMap<ClassId, Arc<EventRecordClass>>,
    pub(crate) counts: BTreeMap<ClassId, u64>,
    pub(crate) losses: Vec<Loss>,
    pub(crate) accounts: Vec<HopAccount>,
    last: BTreeMap<Cpu, SessionTime>,
    /// Class, time and payload of each record, if wanted.
    pub(crate) keep: bool,
    pub(crate) records: Vec<(ClassId, SessionTime, Vec<u8>)>,
    pub(crate) first_and_last: Option<(u64, u64)>,
}

impl Sink for Collected {
    fn class(&mut self, class: &Arc<EventRecordClass>) -> Result<()> {
        assert!(
            self.classes.insert(class.id, Arc::clone(class)).is_none(),
            "told twice"
        );
        Ok(())
    }

    fn record(&mut self, record: &EventRecord<'_>) -> Result<()> {
        let class = self
            .classes
            .get(&record.class)
            .expect("a class comes before its records");
        if let Some(size) = class.payload.static_size_bytes() {
            assert_eq!(record.payload.len(), size as usize, "{}", class.name);
        }
        assert_eq!(record.rest_len_bytes > 0, class.payload.ends_with_rest());
        let last = self.last.entry(record.cpu).or_default();
        assert!(
            record.time >= *last,
            "time goes back from {last} to {}",
            record.time
        );
        *last = record.time;
        *self.counts.entry(record.class).or_default() += 1;
        let ns = record.time.as_ns();
        let (first, last) = self.first_and_last.unwrap_or((ns, ns));
        self.first_and_last = Some((first.min(ns), last.max(ns)));
        if self.keep {
            self.records
                .push((record.class, record.time, record.payload.to_vec()));
        }
        Ok(())
    }

    fn loss(&mut self, loss: &Loss) -> Result<()> {
        assert!(loss.count > 0 && loss.begin <= loss.end && loss.source == SOURCE);
        self.losses.push(loss.clone());
        Ok(())
    }

    fn account(&mut self, account: &HopAccount) -> Result<()> {
        assert!(account.balances(), "{account:?}");
        self.accounts.push(account.clone());
        Ok(())
    }
}

impl Collected {
    pub(crate) fn class_named(&self, name: &str) -> &Arc<EventRecordClass> {
        self.classes.values().find(|c| c.name == name).expect(name)
    }

    pub(crate) fn count_of(&self, name: &str) -> u64 {
        let ids = self.classes.values().filter(|c| c.name == name);
        ids.map(|c| self.counts.get(&c.id).copied().unwrap_or(0))
            .sum()
    }

    pub(crate) fn lost(&self) -> u64 {
        self.losses.iter().map(|l| l.count).sum()
    }

    pub(crate) fn seen(&self) -> u64 {
        self.accounts.iter().map(|a| a.seen).sum()
    }

    /// Every account says what was delivered, and lost, and nothing else.
    pub(crate) fn check_accounts(&self) {
        let written: u64 = self.accounts.iter().map(|a| a.written).sum();
        assert_eq!(written, self.counts.values().sum::<u64>());
        for account in &self.accounts {
            assert_eq!(
                account.certainty,
                kstrace_schema::Certainty::Exact,
                "{account:?}"
            );
            for (reason, count) in &account.dropped {
                let told: u64 = self
                    .losses
                    .iter()
                    .filter(|l| l.cpu == account.cpu && l.reason == *reason)
                    .map(|l| l.count)
                    .sum();
                assert_eq!(told, *count, "{reason} on CPU {}", account.cpu);
            }
        }
    }
}

/// A source at work with its streams.
pub(crate) struct Recording {
    // Streams first: so must it be without regard to order, and the other way round is tested.
    pub(crate) source: FtraceSource,
    pub(crate) streams: Vec<Box<dyn RecordStream>>,
    pub(crate) sink: Collected,
}

/// The source for a plan, not yet started; `None`, with a word, without the privilege.
pub(crate) fn open(plan: FtracePlan) -> Option<Recording> {
    let mut source = match FtraceSource::open(plan, SOURCE, Arc::new(ClassRegistry::new())) {
        Ok(source) => source,
        Err(e) if e.kind() == kstrace_schema::ErrorKind::PermissionDenied => {
            eprintln!("skipped: {e:?}");
            return None;
        }
        Err(e) => panic!("{e:?}"),
    };
    let mut sink = Collected::default();
    let streams = source.streams(&mut sink).unwrap();
    Some(Recording {
        source,
        streams,
        sink,
    })
}

impl Recording {
    /// Takes in and hands on what there is now. Says whether more will come.
    pub(crate) fn round(&mut self) -> bool {
        let mut more_to_come = false;
        for stream in &mut self.streams {
            let fill = stream.fill(&mut self.sink).unwrap();
            more_to_come |= fill.complete_until != SessionTime::MAX;
            if let Some(next) = stream.peek() {
                // In two steps, as a merge would.
                stream.emit(next, &mut self.sink).unwrap();
            }
            stream.emit(fill.complete_until, &mut self.sink).unwrap();
            assert!(stream.peek().is_none_or(|next| next > fill.complete_until));
        }
        more_to_come
    }

    /// Stops, takes everything, draws up the accounts, and removes the instance.
    pub(crate) fn finish(mut self) -> (Collected, FtraceSource) {
        self.source.stop().unwrap();
        while self.round() {}
        for stream in &mut self.streams {
            assert!(stream.peek().is_none());
            stream.finish(&mut self.sink).unwrap();
        }
        self.sink.check_accounts();
        (self.sink, self.source)
    }
}
