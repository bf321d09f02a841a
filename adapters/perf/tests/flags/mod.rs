//! The order of the parts of a sample: every flag alone, beside its neighbours and among all
//! others, recorded live or made by hand, decoded here and by others.

mod dump;
mod fields;
mod live;
mod made_up;
mod oracles;
mod sys;
