//! Configurations that FreeBSD's own parser was given, and what it made of them: read, written
//! and read again.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "common/wire.rs"]
mod wire;

use std::path::PathBuf;

use hast_proto::conf::{ConfError, ConfFault, Config, Directive, File, Hint, Host, Switch};
use serde_json::{Value, json};
use wire::{assert_counted, described_sessions};

fn directory() -> PathBuf {
    wire::directory().join("hast-conf")
}

fn cases() -> Vec<Value> {
    wire::cases("hast-conf/index.json", "cases")
}

fn text(case: &Value) -> Vec<u8> {
    std::fs::read(directory().join(case["file"].as_str().unwrap())).unwrap()
}

fn host(case: &Value) -> Host {
    let host = &case["host"];
    Host::new(host["hostname"].as_str().unwrap())
        .with_uuid(host["hostuuid"].as_str().unwrap())
        .with_id(host["hostid"].as_str().unwrap().parse().unwrap())
}

fn read(case: &Value) -> Result<(File, Config), ConfError> {
    let file = File::parse(&text(case))?;
    let config = file.select(&host(case))?;
    Ok((file, config))
}

/// The configuration in the words of the vectors.
fn described(config: &Config) -> Value {
    let resources: Vec<Value> = config
        .resources
        .iter()
        .map(|resource| {
            json!({
                "name": resource.name.as_str(),
                "local": resource.local.as_str(),
                "remote": resource.remote.as_ref().map(|a| a.as_str()),
                "source": resource.source.as_ref().map(|a| a.as_str()),
                "replication": resource.replication.as_str(),
                "checksum": resource.checksum.as_str(),
                "compression": resource.compression.as_str(),
                "timeout": resource.timeout.to_string(),
                "exec": resource.exec.as_ref().map(|p| p.as_str()),
                "metaflush": resource.metaflush == Switch::On,
                "provider": resource.provider.as_str(),
            })
        })
        .collect();
    json!({
        "control": config.control(),
        "pidfile": config.pidfile(),
        "listen": config.listen.addresses(),
        "resources": resources,
    })
}

/// The fault in the words of the vectors.
fn class(error: &ConfError) -> String {
    match &error.fault {
        ConfFault::Unexpected { .. } | ConfFault::Character { .. } => "syntax".into(),
        ConfFault::Number {
            directive: Directive::Timeout,
            ..
        } => "timeout".into(),
        ConfFault::TooLong {
            directive: Directive::Resource,
            ..
        } => "too_long_resource_name".into(),
        ConfFault::TooLong { directive, .. } => format!("too_long_{directive}"),
        ConfFault::Duplicate { .. } => "duplicate_resource".into(),
        ConfFault::NoSection { .. } => "no_node_section".into(),
        ConfFault::NoRemote { .. } => "remote_missing".into(),
        ConfFault::NoLocal { .. } => "local_missing".into(),
        other => panic!("{other}"),
    }
}

/// What is decided here where FreeBSD's behaviour is an accident: the message, or `None` if the
/// file is read.
const DECIDED: [(&str, Option<&str>); 7] = [
    // A carriage return is a blank, as it is there by accident.
    ("crlf", None),
    (
        "quotes_and_semicolons",
        Some(
            "line 1, column 11: the character ';' means nothing here; only blanks stand between directives",
        ),
    ),
    (
        "lone_unknown_character",
        Some(
            "line 6, column 3: the character '=' means nothing here; a value follows its directive after a blank",
        ),
    ),
    (
        "timeout_wraps",
        Some("line 1, column 9: timeout 4294967297 is outside 1..=2147483647"),
    ),
    (
        "timeout_wraps_resource",
        Some("line 2, column 10: timeout 4294967301 is outside 1..=2147483647"),
    ),
    (
        "provider_name_255_at_resource_level",
        Some("line 2, column 7: name: 255 octets where at most 254 are allowed"),
    ),
    ("comment_without_line_end", None),
];

#[test]
fn every_case_is_read_or_refused_as_it_should_be() {
    let (mut accepted, mut refused, mut decided) = (0, 0, 0);
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let result = read(&case);
        if case["may_differ"].as_bool().unwrap() {
            let (_, message) = DECIDED.iter().find(|(known, _)| *known == name).unwrap();
            let error = result.as_ref().err().map(ToString::to_string);
            assert_eq!(error.as_deref(), *message, "{name}");
            if let (Ok((_, config)), true) = (&result, case["parsed"].is_object()) {
                assert_eq!(described(config), case["parsed"], "{name}");
            }
            decided += 1;
        } else if case["expect"] == "ok" {
            let (file, config) = result.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(described(&config), case["parsed"], "{name}");
            assert!(file.extensions().is_empty(), "{name}");
            accepted += 1;
        } else {
            let error = result.unwrap_err();
            assert_eq!(
                class(&error),
                case["error"].as_str().unwrap(),
                "{name}: {error}"
            );
            let line: usize = case["line"].as_u64().unwrap().try_into().unwrap();
            assert_eq!(error.at.unwrap().line, line, "{name}: {error}");
            let near = case["near"].as_str();
            if class(&error) == "syntax" {
                assert_eq!(error.near(), Some(near.unwrap_or_default()), "{name}");
            } else {
                assert_eq!((error.near(), near), (None, None), "{name}");
            }
            refused += 1;
        }
    }
    println!("{accepted} configurations accepted, {refused} refused, {decided} decided here");
    assert_eq!((accepted, refused, decided), (31, 56, 7));
}

#[test]
fn what_is_written_is_read_back_to_the_same() {
    let mut count = 0;
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let Ok((file, config)) = read(&case) else {
            continue;
        };
        let written = file.to_string();
        let again = File::parse(written.as_bytes()).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(again, file, "{name}");
        assert_eq!(again.to_string(), written, "{name}");
        assert_eq!(again.select(&host(&case)), Ok(config), "{name}");
        count += 1;
    }
    println!("{count} configurations written and read again");
    assert_eq!(count, 33);
}

#[test]
fn a_node_without_a_section_is_told_its_names_in_the_original_order() {
    let mut count = 0;
    for case in cases() {
        if case["error"] != "no_node_section" {
            continue;
        }
        let error = read(&case).unwrap_err();
        let ConfFault::NoSection { names, .. } = error.fault else {
            panic!("{error}");
        };
        let expected = format!("(acceptable node names: {}).", names.join(", "));
        assert!(
            case["real"].as_str().unwrap().ends_with(&expected),
            "{expected}"
        );
        count += 1;
    }
    println!("{count} messages with the names of the node");
    assert_eq!(count, 5);
}

/// Column and hint of some messages, which the original does not have.
#[test]
fn a_message_says_where_exactly_and_what_to_do() {
    let message = |text: &str| File::parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        message("timeout 20\n\tTimeout 5\n"),
        "line 2, column 2: `Timeout` where a directive is expected; did you mean `timeout`?"
    );
    assert_eq!(
        message("resource a {\n\tremote tcp://b\n}\n"),
        "line 2, column 2: `remote` where a directive of a `resource` section or `}` is \
         expected; `remote` belongs in an `on` section of a resource"
    );
    assert_eq!(
        message("exec /bin/hook -v\n"),
        "line 1, column 16: `-v` where a directive is expected; `exec` takes a path without \
         arguments"
    );
    assert_eq!(
        message("timeout 20s\n"),
        "line 1, column 9: `20s` where a number for `timeout` is expected; only digits, without \
         sign or unit"
    );
    assert_eq!(
        message("resource local {\n}\n"),
        "line 1, column 10: `local` where a name for `resource` is expected; a keyword cannot \
         be a name"
    );
    assert_eq!(
        message("resource 1 {\n}\n"),
        "line 1, column 10: the number `1` where a name for `resource` is expected; a name \
         cannot be digits only"
    );
    assert_eq!(
        message("resource a {\n"),
        "line 2, column 1: the end of the file where a directive of a `resource` section or `}` \
         is expected; is a `}` missing?"
    );
    assert_eq!(
        message("listen\n"),
        "line 2, column 1: the end of the file where an address for `listen` is expected; is \
         the value missing?"
    );
    assert_eq!(
        message("resource a { on b { source none } }"),
        "line 1, column 28: `none` where an address for `source` is expected; leave the \
         directive out instead"
    );
    assert_eq!(
        message("exec \"/bin/a\""),
        "line 1, column 6: the character '\"' means nothing here; text stands without quotes"
    );
    assert_eq!(
        message("exec /bin/ä\n"),
        "line 1, column 11: the character 'ä' means nothing here"
    );
    assert_eq!(
        message("resource a {}\n resource a {}"),
        "line 2, column 11: resource a is configured more than once, first at line 1, column 10"
    );
    let error = File::parse(b"resource a { friendly yes }").unwrap_err();
    let ConfFault::Unexpected { hint, .. } = error.fault else {
        panic!("{error}");
    };
    assert_eq!(hint, Some(Hint::HastMon));
    assert_eq!(
        message("\u{0}"),
        "line 1, column 1: the character '\\0' means nothing here"
    );
    let error = File::parse(b"timeout \xff").unwrap_err();
    assert_eq!(error.at.unwrap().column, 9);
    assert_eq!(
        error.fault,
        ConfFault::Character {
            character: char::REPLACEMENT_CHARACTER,
            hint: None
        }
    );
}

#[test]
fn extensions_have_scope_and_precedence_like_the_rest() {
    let file = File::parse(
        b"tls on
          tlscert /etc/ssl/a.pem
          arbiter http://10.0.0.5:2379
          arbiter http://10.0.0.6:2379
          requestsize 1048576
          on hasta { tlskey /etc/ssl/a.key tlsca /etc/ssl/ca.pem }
          on hastb { tlskey /etc/ssl/b.key }
          resource tls {
              local /dev/da0
              on hasta { remote 10.0.0.2 tlspeer hastb.example.org }
              on hastb { remote 10.0.0.1 }
          }
          resource arbiter {
              tls off
              arbiter http://10.0.0.7:2379
              requestsize 4096
              local /dev/da1
              on hasta { remote none }
              on hastb { remote none }
          }
          resource alone {
              tls off arbiter none local /dev/da2
              on hasta { remote none }
              on hastb { remote none }
          }",
    )
    .unwrap();
    assert_eq!(File::parse(file.to_string().as_bytes()).unwrap(), file);
    let all = [
        "arbiter",
        "requestsize",
        "tls",
        "tlsca",
        "tlscert",
        "tlskey",
        "tlspeer",
    ];
    assert!(file.extensions().into_iter().eq(all));

    let here = file.select(&Host::new("hasta.example.org")).unwrap();
    assert_eq!(here.tls.key.as_ref().unwrap().as_str(), "/etc/ssl/a.key");
    let tls = here.resource("tls").unwrap();
    assert_eq!(tls.tls, Switch::On);
    assert_eq!(tls.tls_peer.as_ref().unwrap().as_str(), "hastb.example.org");
    assert_eq!(tls.arbiters.len(), 2);
    assert_eq!(tls.request_size.get(), 1024 * 1024);
    let arbiter = here.resource("arbiter").unwrap();
    assert_eq!(arbiter.tls, Switch::Off);
    assert_eq!(arbiter.arbiters.len(), 1);
    assert_eq!(arbiter.request_size.get(), 4096);
    assert_eq!(here.resource("alone").unwrap().arbiters, []);

    // The other node has no authority to check its peer by.
    let error = file.select(&Host::new("hastb")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 12, column 11: resource tls wants `tls on`, but this node has no `tlsca`"
    );
}

#[test]
fn a_number_of_an_extension_is_checked() {
    let message = |text: &str| File::parse(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        message("requestsize 2048"),
        "line 1, column 13: requestsize 2048 is outside 4096..=1048576"
    );
    assert_eq!(
        message("requestsize 5000"),
        "line 1, column 13: requestsize 5000 is no power of two"
    );
}

/// FreeBSD's parser refuses a file at the first word that is none of its own where one of its
/// own must stand: no extension may begin with one of its keywords.
#[test]
fn no_extension_is_a_word_of_the_original() {
    for directive in Directive::ALL {
        let text = format!("resource {} {{ }}", directive.word());
        assert_eq!(
            File::parse(text.as_bytes()).is_ok(),
            directive.is_extension(),
            "{directive}"
        );
    }
}

#[test]
fn a_text_of_any_length_is_refused_before_it_is_read() {
    let text = vec![b' '; hast_proto::conf::MAX_LEN + 1];
    let error = File::parse(&text).unwrap_err();
    assert_eq!(
        error.to_string(),
        "1048577 octets where at most 1048576 are read"
    );
    assert_eq!(File::parse(&text[1..]).unwrap(), File::default());
}

/// The configurations with which the recorded sessions were run.
#[test]
fn the_configurations_of_recorded_sessions_are_read() {
    let mut count = 0;
    for (_, session) in described_sessions() {
        for (node, text) in session["hast_conf"].as_object().unwrap() {
            let file = File::parse(text.as_str().unwrap().as_bytes()).unwrap();
            let config = file.select(&Host::new(node)).unwrap();
            let expected = &session["config"][node];
            for resource in &config.resources {
                assert_eq!(expected["replication"], resource.replication.as_str());
                assert_eq!(expected["checksum"], resource.checksum.as_str());
                assert_eq!(expected["compression"], resource.compression.as_str());
                assert_eq!(expected["timeout"], resource.timeout.get());
                assert_eq!(expected["metaflush"], resource.metaflush.to_string());
                assert!(resource.local.as_str().starts_with("/lab/"));
            }
            assert_eq!(File::parse(file.to_string().as_bytes()), Ok(file));
            count += 1;
        }
    }
    assert_counted("configurations of recorded sessions", count, 40);
}
