//! What has to change when a configuration takes the place of another one (HAST §8.5).

use hast_proto::conf::{Config, ResourceConfig};

/// What becomes of the resources, by name.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Plan {
    /// They are gone.
    pub(crate) remove: Vec<String>,
    /// They are new, and begin as init.
    pub(crate) add: Vec<ResourceConfig>,
    /// They go on with other settings.
    pub(crate) change: Vec<(ResourceConfig, Change)>,
}

/// How a resource gets from one configuration to another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Change {
    /// It becomes init, and then takes its role again.
    Restart,
    /// It goes on, whatever its role.
    Adjust,
}

impl Plan {
    /// From what there is, whatever was wanted before, so that what has failed is tried again.
    pub(crate) fn new(present: &[ResourceConfig], new: &Config) -> Self {
        let mut plan = Self::default();
        for resource in present {
            if new.resource(resource.name.as_str()).is_none() {
                plan.remove.push(resource.name.to_string());
            }
        }
        for resource in &new.resources {
            match present.iter().find(|it| it.name == resource.name) {
                None => plan.add.push(resource.clone()),
                Some(before) if before == resource => {}
                Some(before) => plan
                    .change
                    .push((resource.clone(), Change::between(before, resource))),
            }
        }
        plan
    }
}

impl Change {
    fn between(old: &ResourceConfig, new: &ResourceConfig) -> Self {
        match old.local != new.local || old.provider != new.provider {
            true => Self::Restart,
            false => Self::Adjust,
        }
    }
}

#[cfg(test)]
mod tests {
    use hast_proto::conf::{File, Host};

    use super::*;

    const TWO: &str = "
        timeout 5
        resource a { on ada { local /dev/a remote 192.0.2.2 } }
        resource b { exec /hook on ada { local /dev/b remote 192.0.2.2 source 192.0.2.1 } }
    ";

    fn config(text: &str) -> Config {
        let file = File::parse(text.as_bytes()).unwrap();
        file.select(&Host::new("ada")).unwrap()
    }

    fn plan(from: &str, to: &str) -> Plan {
        assert!(TWO.contains(from), "{from}");
        Plan::new(&config(TWO).resources, &config(&TWO.replace(from, to)))
    }

    fn changed(plan: &Plan) -> Vec<(&str, Change)> {
        assert!(plan.add.is_empty() && plan.remove.is_empty());
        let changed = plan.change.iter();
        changed
            .map(|(resource, change)| (resource.name.as_str(), *change))
            .collect()
    }

    #[test]
    fn what_is_the_same_goes_on() {
        assert_eq!(plan("timeout 5", "timeout 5 # the same"), Plan::default());
        assert_eq!(plan("timeout 5", "timeout 5 control /c"), Plan::default());
    }

    #[test]
    fn resources_come_and_go() {
        let plan = plan("resource a", "resource c");
        assert_eq!(plan.remove, ["a"]);
        assert_eq!(plan.add.len(), 1);
        assert_eq!(plan.add[0].name.as_str(), "c");
        assert!(plan.change.is_empty());
    }

    #[test]
    fn another_provider_or_device_is_another_resource_under_the_same_name() {
        let restarted = [("b", Change::Restart)];
        assert_eq!(changed(&plan("/dev/b", "/dev/x")), restarted);
        assert_eq!(
            changed(&plan("exec /hook", "exec /hook name other")),
            restarted
        );
    }

    #[test]
    fn anything_else_is_changed_while_it_runs() {
        for (from, to) in [
            ("/hook", "/other"),
            ("source 192.0.2.1", ""),
            ("exec /hook", "exec /hook replication async"),
            ("exec /hook", "exec /hook checksum crc32"),
            ("exec /hook", "exec /hook compression lzf"),
            ("exec /hook", "exec /hook metaflush off"),
        ] {
            assert_eq!(changed(&plan(from, to)), [("b", Change::Adjust)], "{to}");
        }
        let both = [("a", Change::Adjust), ("b", Change::Adjust)];
        assert_eq!(changed(&plan("timeout 5", "timeout 6")), both);
        assert_eq!(changed(&plan("remote 192.0.2.2", "remote none")), both);
    }
}
