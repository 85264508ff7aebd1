//! The figures that a recorder gets.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tokio::net::TcpStream;

use ha_core::io::hast::Discard;

use crate::pair::{Pair, eventually, noise};

/// The last value of each figure, or how many there were of a histogram.
#[derive(Clone, Default)]
struct Figures(Arc<Mutex<BTreeMap<String, f64>>>);

struct Figure(Figures, String);

impl Figures {
    fn get(&self, name: &str) -> f64 {
        self.0.lock().unwrap().get(name).copied().unwrap_or(-1.0)
    }

    fn figure(&self, key: &Key) -> Arc<Figure> {
        let labels = key.labels().filter(|label| label.key() != "resource");
        let labels: String = labels.map(|label| format!(" {}", label.value())).collect();
        Arc::new(Figure(self.clone(), format!("{}{labels}", key.name())))
    }
}

impl Figure {
    fn change(&self, change: impl FnOnce(&mut f64)) {
        let mut figures = self.0.0.lock().unwrap();
        change(figures.entry(self.1.clone()).or_default());
    }
}

impl CounterFn for Figure {
    fn increment(&self, value: u64) {
        self.change(|figure| *figure += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|figure| *figure = value as f64);
    }
}

impl GaugeFn for Figure {
    fn increment(&self, value: f64) {
        self.change(|figure| *figure += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|figure| *figure -= value);
    }

    fn set(&self, value: f64) {
        self.change(|figure| *figure = value);
    }
}

impl HistogramFn for Figure {
    fn record(&self, value: f64) {
        assert!((0.0..60.0).contains(&value), "{value}");
        self.change(|figure| *figure += 1.0);
    }
}

impl Recorder for Figures {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.figure(key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.figure(key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.figure(key))
    }
}

#[tokio::test]
async fn what_a_primary_does_is_told() {
    let figures = Figures::default();
    // Of this thread, which is that of both nodes.
    let installed = metrics::set_default_local_recorder(&figures);
    let pair = Pair::new(|_| {}).await;
    let device = pair.start().await;
    for number in 0..5 {
        device
            .write(number * 8192, noise(number, 4096))
            .await
            .unwrap();
    }
    device.read(0, 4096).await.unwrap();
    pair.agreed().await;
    assert_eq!(figures.get("hast_request_seconds write"), 5.0);
    assert_eq!(figures.get("hast_request_seconds read"), 1.0);
    // Both nodes are of one name here; whichever was last, it has done these.
    eventually("the figures", async || {
        figures.get("hast_requests_total write") == 5.0
            && figures.get("hast_in_sync") == 1.0
            && figures.get("hast_connected") == 1.0
            && figures.get("hast_to_copy_bytes") == 0.0
    })
    .await;
    pair.end().await;
    drop(installed);
}

#[tokio::test]
async fn who_is_not_let_in_is_told() {
    let figures = Figures::default();
    let installed = metrics::set_default_local_recorder(&figures);
    let pair = Pair::new(|_| {}).await;
    drop(TcpStream::connect(pair.b.address).await.unwrap());
    eventually("a refusal", async || {
        figures.get("hast_refusals_total no-opening") == 1.0
    })
    .await;
    assert_eq!(pair.b.node.stats().no_opening, 1);
    pair.end().await;
    drop(installed);
}

#[tokio::test]
async fn a_split_brain_is_told_until_it_is_mended() {
    let figures = Figures::default();
    let installed = metrics::set_default_local_recorder(&figures);
    let pair = Pair::new(|_| {}).await;
    crate::split::split(&pair).await;
    eventually("the split brain", async || {
        figures.get("hast_split_brain") == 1.0
            && figures.get("hast_split_brain_bytes local") > 0.0
            && figures.get("hast_split_brain_bytes remote") > 0.0
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let order = Discard::new(folder.path().join("lost"), "a");
    eventually("it is told on the other node, too", async || {
        let status = pair.a.resource.status().await.unwrap();
        status.control.split_brain.is_some()
    })
    .await;
    pair.a.resource.discard(order).await.unwrap();
    eventually("its end", async || {
        figures.get("hast_split_brain") == 0.0 && figures.get("hast_split_brain_bytes local") == 0.0
    })
    .await;
    pair.end().await;
    drop(installed);
}
