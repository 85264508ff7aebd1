//! The virtual hosts of the units: what the machines of CARP are told.

use ha_core::carp_proto::{AdvBase, AdvSkew, Dialect, Settings};
use toml::Spanned;

use super::config::Carp;

/// Whose rules a group follows.
pub(crate) fn dialect(carp: &Carp) -> Dialect {
    let ratio = carp.deadratio.as_ref().map(|ratio| *ratio.get_ref());
    carp.rules.get_ref().dialect(ratio)
}

/// How often and how eagerly a group advertises, unless that is out of range. It preempts: else
/// what demotes this node would move nothing while it lives.
pub(crate) fn settings(carp: &Carp) -> Option<Settings> {
    let mut settings = Settings::default();
    settings.preempt = true;
    let base = carp.advbase.as_ref().map(Spanned::get_ref);
    settings.advbase = base.map_or(AdvBase::DEFAULT, |base| AdvBase::new(*base));
    let skew = carp.advskew.as_ref().map(Spanned::get_ref);
    let skew = skew.copied().unwrap_or(AdvSkew::DEFAULT.get());
    settings.advskew = AdvSkew::new(skew).ok()?;
    Some(settings)
}
