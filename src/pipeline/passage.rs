//! One batch on its way through filters and rules.

use std::sync::Arc;
use std::time::Instant;

use super::routed::{Fates, Routed};
use super::router_state::RouterState;
use super::routing::{Routing, Stage};
use crate::event::{Batch, Flags};
use crate::filters::{OnFault, Ruling, Selection};
use crate::rules::SinkSet;

/// What became of an event at its source; of several, the greatest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
enum Fate {
    #[default]
    Unmatched,
    Filtered,
    Faulted,
    DeadLettered,
    Routed,
}

/// What is known of an event so far.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    fate: Fate,
    /// The sinks that get it as it is.
    plain: SinkSet,
    /// The sinks that get it as it is, marked as faulted.
    marked: SinkSet,
}

impl Standing {
    fn raise(&mut self, fate: Fate) {
        self.fate = self.fate.max(fate);
    }
}

/// An event on its way through a chain of filters.
#[derive(Debug, Clone, Copy)]
struct Traveller {
    event: u32,
    /// What the next filter sees: the event, or a version of it.
    version: u32,
    /// The sinks of the rules for which it is on its way.
    sinks: SinkSet,
    /// Whether a filter failed on it, and it went on.
    is_marked: bool,
}

impl Traveller {
    /// Whether a filter has edited or labelled it.
    const fn is_changed(&self) -> bool {
        self.version != self.event
    }
}

/// What becomes of an event on which a filter could not rule.
#[derive(Debug, Clone, Copy)]
enum Remedy {
    GoesOn,
    Ends,
    /// It goes to this sink.
    DeadLetter(usize),
}

/// The batch, and what is known of its events.
pub(super) struct Passage<'a> {
    router: &'a mut RouterState,
    routing: Arc<Routing>,
    batch: Arc<Batch>,
    now: Instant,
    standings: Vec<Standing>,
    /// By sink: events, and which version of each it gets.
    selected: Vec<Vec<(u32, u32)>>,
    halted_by: Option<usize>,
}

impl<'a> Passage<'a> {
    pub(super) fn new(router: &'a mut RouterState, batch: Batch, now: Instant) -> Self {
        let routing = Arc::clone(&router.routing);
        Self {
            standings: vec![Standing::default(); batch.len()],
            selected: vec![Vec::new(); routing.sinks],
            batch: Arc::new(batch),
            router,
            routing,
            now,
            halted_by: None,
        }
    }

    pub(super) fn run(mut self) -> Routed {
        let alive = self.before_rules();
        let travellers = self.by_rules(&alive);
        for (chain, travellers) in travellers.into_iter().enumerate() {
            self.through(chain, travellers);
        }
        self.finish()
    }

    /// The batch, to be changed.
    fn own(&mut self) -> &mut Batch {
        Arc::get_mut(&mut self.batch).expect("filters let go of a batch before they return")
    }

    /// Runs the filters that stand before the rules. They change events in place. Returns those
    /// that go on.
    fn before_rules(&mut self) -> Vec<u32> {
        let routing = Arc::clone(&self.routing);
        let mut alive: Vec<u32> = (0..).take(self.batch.len()).collect();
        for &filter in &routing.filtering.before_rules {
            let events = Selection { batch: &self.batch, indices: &alive };
            let rulings = self.router.ask(filter, Stage::BeforeRules, events, self.now);
            let batch = Arc::get_mut(&mut self.batch).expect("the filter has let go of the batch");
            self.router.filter(filter).apply(&rulings, batch, |place| alive[place as usize]);
            let mut rulings = rulings.rulings.iter();
            alive.retain(|&event| match rulings.next() {
                Some(Ruling::Keep) => true,
                Some(Ruling::Discard) | None => {
                    self.standings[event as usize].raise(Fate::Filtered);
                    false
                }
                Some(Ruling::Faulted(_) | Ruling::Bypassed) => {
                    self.own().flag(event, Flags::FILTER_FAULT);
                    let remedy = self.remedy(filter, event);
                    if let Remedy::DeadLetter(sink) = remedy {
                        self.standings[event as usize].plain.insert(sink);
                    }
                    matches!(remedy, Remedy::GoesOn)
                }
            });
            if alive.is_empty() {
                break;
            }
        }
        alive
    }

    /// Routes events by the rules. Returns, for each chain, those that pass it.
    fn by_rules(&mut self, alive: &[u32]) -> Vec<Vec<Traveller>> {
        let Self { router, routing, batch, standings, .. } = self;
        let mut travellers: Vec<Vec<Traveller>> = vec![Vec::new(); routing.chains.len()];
        for &event in alive {
            let standing = &mut standings[event as usize];
            let routes = routing.rules.route(batch.event(event), &mut router.scratch);
            if routes.is_unmatched() {
                standing.plain = routing.unmatched;
                let is_wanted = !routing.unmatched.is_empty();
                standing.raise(if is_wanted { Fate::Routed } else { Fate::Unmatched });
                continue;
            }
            // Unless a sink gets it.
            standing.raise(Fate::Filtered);
            for rule in routes.matched() {
                router.matched[rule] += 1;
                let sinks = routing.rules.sinks(rule);
                if sinks.is_empty() {
                    continue;
                }
                let Some(chain) = routing.chain_of[rule] else {
                    standing.plain = standing.plain.union(sinks);
                    standing.raise(Fate::Routed);
                    continue;
                };
                match travellers[chain].last_mut().filter(|last| last.event == event) {
                    Some(traveller) => traveller.sinks = traveller.sinks.union(sinks),
                    None => {
                        let new = Traveller { event, version: event, sinks, is_marked: false };
                        travellers[chain].push(new);
                    }
                }
            }
        }
        travellers
    }

    /// Runs the filters of a chain, and gives to the sinks what comes out of it.
    fn through(&mut self, chain: usize, mut travellers: Vec<Traveller>) {
        let routing = Arc::clone(&self.routing);
        for &filter in &routing.chains[chain].filters {
            if travellers.is_empty() {
                return;
            }
            self.step(filter, chain, &mut travellers);
        }
        for traveller in travellers {
            let Traveller { event, version, sinks, is_marked } = traveller;
            let standing = &mut self.standings[event as usize];
            standing.raise(Fate::Routed);
            if traveller.is_changed() {
                for sink in sinks.iter() {
                    self.selected[sink].push((event, version));
                }
            } else if is_marked {
                standing.marked = standing.marked.union(sinks);
            } else {
                standing.plain = standing.plain.union(sinks);
            }
        }
    }

    /// Runs one filter of a chain; those that do not go on are taken out.
    fn step(&mut self, filter: usize, chain: usize, travellers: &mut Vec<Traveller>) {
        let versions: Vec<u32> = travellers.iter().map(|traveller| traveller.version).collect();
        let events = Selection { batch: &self.batch, indices: &versions };
        let rulings = self.router.ask(filter, Stage::Chain(chain), events, self.now);
        let edited = rulings.edits.iter().map(|edit| edit.index);
        for place in edited.chain(rulings.labels.iter().map(|label| label.index)) {
            let traveller = &mut travellers[place as usize];
            if !traveller.is_changed() {
                let batch = self.own();
                traveller.version = batch.push_copy(traveller.event);
                if traveller.is_marked {
                    batch.flag(traveller.version, Flags::FILTER_FAULT);
                }
            }
        }
        let batch = Arc::get_mut(&mut self.batch).expect("the filter has let go of the batch");
        let version = |place: u32| travellers[place as usize].version;
        self.router.filter(filter).apply(&rulings, batch, version);
        let mut rulings = rulings.rulings.iter();
        travellers.retain_mut(|traveller| match rulings.next() {
            Some(Ruling::Keep) => true,
            // That it was filtered was presumed when it matched.
            Some(Ruling::Discard) | None => false,
            Some(Ruling::Faulted(_) | Ruling::Bypassed) => self.remedied(filter, traveller),
        });
    }

    /// Marks an event on which a filter of a chain could not rule. Returns whether it goes on.
    fn remedied(&mut self, filter: usize, traveller: &mut Traveller) -> bool {
        let Traveller { event, version, .. } = *traveller;
        traveller.is_marked = true;
        if traveller.is_changed() {
            self.own().flag(version, Flags::FILTER_FAULT);
        }
        match self.remedy(filter, event) {
            Remedy::GoesOn => true,
            Remedy::Ends => false,
            Remedy::DeadLetter(sink) => {
                if traveller.is_changed() {
                    self.selected[sink].push((event, version));
                } else {
                    self.standings[event as usize].marked.insert(sink);
                }
                false
            }
        }
    }

    /// What becomes of an event on which a filter could not rule; its fate is noted.
    fn remedy(&mut self, filter: usize, event: u32) -> Remedy {
        let standing = &mut self.standings[event as usize];
        let dead_letters = self.routing.filtering.dead_letters.get(filter).copied().flatten();
        match (self.router.filter(filter).on_fault(), dead_letters) {
            (OnFault::Keep, _) => Remedy::GoesOn,
            (OnFault::DeadLetter, Some(sink)) => {
                standing.raise(Fate::DeadLettered);
                Remedy::DeadLetter(sink)
            }
            (OnFault::Halt, _) => {
                self.halted_by.get_or_insert(filter);
                standing.raise(Fate::Faulted);
                Remedy::Ends
            }
            // The configuration sees to it that dead letters have a sink.
            (OnFault::Discard | OnFault::DeadLetter, _) => {
                standing.raise(Fate::Faulted);
                Remedy::Ends
            }
        }
    }

    /// Gives to the sinks what they get of the events as they are.
    fn finish(mut self) -> Routed {
        let mut fates = Fates::default();
        let batch = Arc::get_mut(&mut self.batch).expect("all filters have let go of the batch");
        for (event, standing) in (0_u32..).zip(&self.standings) {
            let Standing { fate, plain, marked } = *standing;
            let count = match fate {
                Fate::Unmatched => &mut fates.unmatched,
                Fate::Filtered => &mut fates.filtered,
                Fate::Faulted => &mut fates.faulted,
                Fate::DeadLettered => &mut fates.dead_lettered,
                Fate::Routed => &mut fates.routed,
            };
            *count += 1;
            let plain = plain.without(marked);
            for sink in plain.iter() {
                self.selected[sink].push((event, event));
            }
            if !marked.is_empty() {
                let version = if plain.is_empty() { event } else { batch.push_copy(event) };
                batch.flag(version, Flags::FILTER_FAULT);
                for sink in marked.iter() {
                    self.selected[sink].push((event, version));
                }
            }
        }
        let in_order = |mut events: Vec<(u32, u32)>| {
            events.sort_by_key(|(event, _)| *event);
            events.into_iter().map(|(_, version)| version).collect()
        };
        let selected = self.selected.into_iter().map(in_order).collect();
        let halted_by = self.halted_by;
        Routed { batch: self.batch, selected, fates, halted_by, steps: Vec::new() }
    }
}
