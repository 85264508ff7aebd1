//! Two daemons that replicate in TLS.

use std::fs;

use libtest_mimic::Trial;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use rustix::process::Signal;

use super::cluster::Cluster;
use super::cluster::Node::{self, Ada, Bob};
use super::nbd::Client;
use super::trial;

const SIZE: u64 = 8 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("tls_replicates_and_is_renewed", renewed),
        trial("tls_is_not_done_without", refused),
    ]
}

/// An authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// Writes the files of a node, with a certificate for this resource.
    fn issue(&self, cluster: &Cluster, node: Node, resource: &str) {
        let mut params = CertificateParams::new([node.name().to_owned()]).expect("a name");
        let uri = format!("hast:{resource}").try_into().expect("a URI");
        params.subject_alt_names.push(SanType::URI(uri));
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        let write = |what: &str, text: String| {
            let path = cluster.path(&format!("{}.{what}", node.name()));
            fs::write(path, text).expect("a file");
        };
        write("cert", certificate.pem());
        write("key", key.serialize_pem());
        write("ca", self.0.pem());
    }
}

/// The usual configuration, in TLS.
fn config(cluster: &Cluster) -> String {
    let mut text = cluster.config("tls on timeout 2");
    for node in [Ada, Bob] {
        let (name, peer) = (node.name(), node.other().name());
        let path = |what: &str| {
            cluster
                .path(&format!("{name}.{what}"))
                .display()
                .to_string()
        };
        let (cert, key, ca) = (path("cert"), path("key"), path("ca"));
        let global = format!("on {name} {{ tlscert {cert} tlskey {key} tlsca {ca} control");
        text = text.replace(&format!("on {name} {{ control"), &global);
        let resource = format!("on {name} {{ tlspeer {peer} local");
        text = text.replace(&format!("on {name} {{ local"), &resource);
    }
    text
}

/// Has a daemon read its files again, and waits for what comes of it.
fn reload(cluster: &Cluster, node: Node, outcome: &str) {
    let before = cluster.log(node).matches(outcome).count();
    cluster.signal(node, Signal::HUP);
    super::cluster::wait_until(outcome, || {
        cluster.log(node).matches(outcome).count() > before
    });
}

fn reconnect(cluster: &Cluster) {
    cluster.relay(Bob).down();
    super::cluster::wait_until("they have lost each other", || !cluster.is_connected(Ada));
    cluster.relay(Bob).up();
}

fn renewed() {
    const FORCE: &str = "the new configuration is in force";
    const FORMER: &str = "the former configuration stays in force";
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    let mut cluster = Cluster::new(SIZE, "");
    for node in [Ada, Bob] {
        old.issue(&cluster, node, "shared");
    }
    cluster.write_config(&config(&cluster));
    cluster.start_in_roles(Ada);
    let mut client = Client::connect(&cluster.device(Ada), "shared").expect("a device");
    let mut write = |octet: u8| {
        let offset = u64::from(octet) << 20;
        client
            .write(offset, &vec![octet; 1 << 20])
            .expect("a write");
    };
    write(1);
    cluster.wait_until_synchronised(Ada);

    // A file that is wrong changes nothing.
    fs::write(cluster.path("ada.key"), "rubbish").expect("a file");
    reload(&cluster, Ada, FORMER);
    reconnect(&cluster);
    write(2);
    cluster.wait_until_synchronised(Ada);

    // One node alone has new files: the session goes on, and no other begins.
    new.issue(&cluster, Ada, "shared");
    reload(&cluster, Ada, FORCE);
    write(3);
    cluster.wait_until_synchronised(Ada);
    reconnect(&cluster);
    cluster.wait_for_log(Ada, "UnknownIssuer");
    assert!(!cluster.is_connected(Ada));
    write(4);
    new.issue(&cluster, Bob, "shared");
    reload(&cluster, Bob, FORCE);
    cluster.wait_until_synchronised(Ada);
    cluster.check_equal();
    cluster.stop(Ada);
    cluster.stop(Bob);
}

fn refused() {
    let authority = Authority::new("authority");
    let mut cluster = Cluster::new(SIZE, "");
    for node in [Ada, Bob] {
        authority.issue(&cluster, node, "shared");
    }
    let plain = cluster.config("timeout 2");
    cluster.write_config(&config(&cluster));
    let check = || cluster.hastd(Ada, &["--check"]);
    assert!(check().status.success(), "{:?}", check());
    let fails = |why: &str| {
        let output = check();
        assert_eq!(output.status.code(), Some(78), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains(why), "{why:?} is not in {said}");
    };
    fs::remove_file(cluster.path("ada.ca")).expect("a file");
    fails("ada.ca");
    authority.issue(&cluster, Ada, "other");
    fails("is not for the resource shared");
    fs::copy(cluster.path("bob.key"), cluster.path("ada.key")).expect("a copy");
    fails("it is not the key of the certificate");
    authority.issue(&cluster, Ada, "shared");
    cluster.write_config(&config(&cluster).replace("tlspeer bob", "tlspeer _bob-"));
    fails("tlspeer");
    cluster.write_config(&plain.replace("timeout 2", "tls on"));
    fails("tlscert");

    // One node wants TLS, and the other one does not know of it.
    cluster.write_config(&config(&cluster));
    cluster.start(Bob);
    cluster.write_config(&plain);
    cluster.start(Ada);
    cluster.role(Bob, "secondary");
    cluster.role(Ada, "primary");
    cluster.wait_for_log(Ada, "The resource is replicated in TLS only.");
    cluster.wait_for_log(Bob, "the connection is plain");
    assert!(!cluster.is_connected(Ada));
}
