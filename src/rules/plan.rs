//! Conditions as trees of terms: in the order in which they were written, to be explained; and in
//! the order of their cost, to be evaluated.

use std::borrow::Cow;

use super::field::{Fields, Leaf, Scratch};
use super::model::SizeRange;
use super::protocol::ProtocolName;
use crate::event::{EventRef, NumberColumn, Operation, OperationSet};

/// One key of a condition.
#[derive(Debug, Clone)]
pub(super) enum Term {
    /// A list of patterns matches a field.
    Field(Leaf),
    /// The operation is one of those.
    Operation {
        known: OperationSet,
        /// Holds for operations that this release does not know.
        named: Option<Leaf>,
    },
    /// The protocol begins with one of these.
    Protocol(Box<[ProtocolName]>),
    /// A number of bytes lies in one of these.
    Size(NumberColumn, Box<[SizeRange]>),
    /// The status is one of these.
    Status {
        leaf: Leaf,
        /// Whether it holds for `ok`.
        on_ok: bool,
        /// Whether it can hold for another status.
        on_error: bool,
    },
}

/// What is known of an event before its texts are read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kind {
    pub(super) operation: Operation,
    pub(super) ok: bool,
}

impl Term {
    pub(super) fn holds(&self, view: &mut View<'_>) -> bool {
        match self {
            Self::Field(leaf) => view.leaf(*leaf),
            Self::Operation { known, named } => match view.event.operation() {
                Operation::Unknown => named.is_some_and(|leaf| view.leaf(leaf)),
                operation => known.contains(operation),
            },
            Self::Protocol(names) => {
                let name = view.event.protocol_name();
                names.iter().any(|protocol| protocol.matches(name))
            }
            Self::Size(column, ranges) => {
                let size = view.event.io_sizes().get(*column);
                size.is_some_and(|bytes| ranges.iter().any(|range| range.contains(bytes)))
            }
            Self::Status { leaf, on_ok, on_error } => {
                if view.event.is_ok() {
                    *on_ok
                } else {
                    *on_error && view.leaf(*leaf)
                }
            }
        }
    }

    /// Whether it holds for all events of a kind, or for none of them; else `None`.
    fn decided(&self, kind: Kind) -> Option<bool> {
        match self {
            Self::Operation { known, named } => match kind.operation {
                Operation::Unknown if named.is_some() => None,
                Operation::Unknown => Some(false),
                operation => Some(known.contains(operation)),
            },
            Self::Status { on_ok, .. } if kind.ok => Some(*on_ok),
            Self::Status { on_error: false, .. } => Some(false),
            Self::Field(_) | Self::Protocol(_) | Self::Size(..) | Self::Status { .. } => None,
        }
    }

    /// Where it stands in the order of evaluation: the cheap ones first.
    fn cost(&self) -> usize {
        match self {
            Self::Operation { .. } => 0,
            Self::Size(..) => 1,
            Self::Status { .. } => 2,
            Self::Protocol(_) => 3,
            Self::Field(leaf) => 4 + leaf.field.cost(),
        }
    }
}

/// An event that is being looked at.
#[derive(Debug)]
pub(super) struct View<'a> {
    pub(super) event: EventRef<'a>,
    pub(super) fields: &'a Fields,
    pub(super) scratch: &'a mut Scratch,
}

impl View<'_> {
    #[inline]
    fn leaf(&mut self, leaf: Leaf) -> bool {
        self.fields.holds(leaf, self.event, self.scratch)
    }
}

/// A condition as it was written.
#[derive(Debug)]
pub(super) struct Plan {
    /// The key under which it stands; empty for an entry of a list.
    pub(super) key: Cow<'static, str>,
    pub(super) kind: PlanKind,
}

/// What a [`Plan`] asks for.
#[derive(Debug)]
pub(super) enum PlanKind {
    All(Vec<Plan>),
    Any(Vec<Plan>),
    Not(Box<Plan>),
    Term {
        term: Term,
        /// The values it asks for, in words.
        wanted: Vec<String>,
    },
}

impl Plan {
    pub(super) fn holds(&self, view: &mut View<'_>) -> bool {
        match &self.kind {
            PlanKind::All(plans) => plans.iter().all(|plan| plan.holds(view)),
            PlanKind::Any(plans) => plans.iter().any(|plan| plan.holds(view)),
            PlanKind::Not(plan) => !plan.holds(view),
            PlanKind::Term { term, .. } => term.holds(view),
        }
    }

    /// Whether it holds for all events of a kind, or for none of them; else `None`.
    pub(super) fn decided(&self, kind: Kind) -> Option<bool> {
        let decided = |plans: &[Self], ends: bool| {
            let mut whole = Some(!ends);
            for plan in plans {
                match plan.decided(kind) {
                    Some(value) if value == ends => return Some(ends),
                    Some(_) => {}
                    None => whole = None,
                }
            }
            whole
        };
        match &self.kind {
            PlanKind::All(plans) => decided(plans, false),
            PlanKind::Any(plans) => decided(plans, true),
            PlanKind::Not(plan) => plan.decided(kind).map(|value| !value),
            PlanKind::Term { term, .. } => term.decided(kind),
        }
    }

    /// Whether the condition holds for an event of a kind wherever one of [`Self::key_leaves`]
    /// does: there is nothing more to look at then.
    pub(super) fn is_its_keys(&self, kind: Kind) -> bool {
        match &self.kind {
            PlanKind::All(plans) => {
                // What holds for the whole kind has no key.
                let mut open = plans.iter().filter(|plan| plan.decided(kind) != Some(true));
                open.next().is_some_and(|plan| plan.is_its_keys(kind)) && open.next().is_none()
            }
            PlanKind::Any(plans) => plans.iter().all(|plan| plan.is_its_keys(kind)),
            PlanKind::Term { term, .. } => matches!(term, Term::Field(_)),
            PlanKind::Not(_) => false,
        }
    }

    /// Leaves of which at least one holds wherever the condition does, if there are such. They are
    /// of the best field that has any.
    pub(super) fn key_leaves(&self) -> Option<Vec<Leaf>> {
        match &self.kind {
            PlanKind::All(plans) => {
                let keys = plans.iter().filter_map(Self::key_leaves);
                keys.min_by_key(|leaves| leaves.iter().map(|leaf| leaf.field.rank()).max())
            }
            PlanKind::Any(plans) => {
                let keys: Option<Vec<_>> = plans.iter().map(Self::key_leaves).collect();
                keys.map(|keys| keys.concat())
            }
            PlanKind::Term { term: Term::Field(leaf), .. } => Some(vec![*leaf]),
            PlanKind::Not(_) | PlanKind::Term { .. } => None,
        }
    }
}

/// A condition in the order of its cost.
#[derive(Debug)]
pub(super) enum Formula {
    All(Box<[Self]>),
    Any(Box<[Self]>),
    Not(Box<Self>),
    Term(Term),
}

impl Formula {
    pub(super) fn new(plan: &Plan) -> Self {
        let ordered = |plans: &[Plan]| {
            let mut formulas: Vec<Self> = plans.iter().map(Self::new).collect();
            formulas.sort_by_key(Self::cost);
            formulas
        };
        match &plan.kind {
            PlanKind::All(plans) | PlanKind::Any(plans) if plans.len() == 1 => Self::new(&plans[0]),
            PlanKind::All(plans) => Self::All(ordered(plans).into_boxed_slice()),
            PlanKind::Any(plans) => Self::Any(ordered(plans).into_boxed_slice()),
            PlanKind::Not(plan) => Self::Not(Box::new(Self::new(plan))),
            PlanKind::Term { term, .. } => Self::Term(term.clone()),
        }
    }

    fn cost(&self) -> usize {
        match self {
            Self::All(formulas) | Self::Any(formulas) => {
                1 + formulas.iter().map(Self::cost).max().unwrap_or(0)
            }
            Self::Not(formula) => 1 + formula.cost(),
            Self::Term(term) => term.cost(),
        }
    }

    pub(super) fn holds(&self, view: &mut View<'_>) -> bool {
        match self {
            Self::All(formulas) => formulas.iter().all(|formula| formula.holds(view)),
            Self::Any(formulas) => formulas.iter().any(|formula| formula.holds(view)),
            Self::Not(formula) => !formula.holds(view),
            Self::Term(term) => term.holds(view),
        }
    }
}
