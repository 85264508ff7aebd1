//! Both sides of the handshake: every cell of the state tables, and what they promise.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/machine.rs"]
mod machine;

use core::time::Duration;

use bytes::Bytes;
use hast_proto::decision::{Changes, Rule, Virgin};
use hast_proto::frame::{Encoder, Frame, FrameError, Phase};
use hast_proto::handshake::connecting::{self, Which};
use hast_proto::handshake::{
    Access, Connection, Established, Failure, Identity, PrimaryHandshake, Refusing,
    SecondaryHandshake, accepting,
};
use hast_proto::message::{
    FirstAnswer, FirstStep, Opening, Refusal, Refused, SecondAnswer, SecondStep, Welcome,
};
use hast_proto::{
    Checksum, Compression, Consistency, Counters, Errno, Layout, Length, Metadata, ResourceId,
    ResourceName, Role, Sealer, SectorSize, SyncSource, Token, Version,
};
use machine::{received, small_layout, small_metadata};

const TIMEOUT: Duration = Duration::from_secs(20);
const TOKEN: Token = Token::new([7; 16]);

fn name() -> ResourceName {
    ResourceName::new("shared").unwrap()
}

fn identity() -> Identity {
    Identity {
        resource_id: ResourceId::new(77).unwrap(),
        virgin: Virgin::Yes,
        counters: Counters::default(),
        changes: Changes::Possible,
        map: vec![0x20; 512].into(),
    }
}

fn answer_frame(answer: &FirstAnswer) -> Frame {
    received(Phase::Answer, &answer.encode(&mut Encoder::new()))
}

fn decide_frame(answer: SecondAnswer) -> Frame {
    let answer = answer.sealed(&mut Sealer::new(Compression::Lzf, Checksum::Crc32));
    received(
        Phase::Answer,
        &answer.encode(Version::V2, &mut Encoder::new()),
    )
}

fn welcome() -> FirstAnswer {
    FirstAnswer::Welcome(Welcome {
        version: Some(Version::V2),
        token: TOKEN,
        reunion: true,
    })
}

fn refused() -> FirstAnswer {
    FirstAnswer::Refused(Refused::from(Refusal::Role(Role::Primary)))
}

/// What a new secondary answers to a new primary.
fn accepted(layout: Layout) -> SecondAnswer {
    let mut metadata = small_metadata();
    metadata.layout = layout;
    let mut door = Door::open();
    door.second(2, Virgin::Yes);
    door.ready(metadata, Consistency::Consistent);
    door.stored(Ok(()));
    door.decided().unwrap()
}

mod primary {
    use super::*;

    type Machine = PrimaryHandshake<Duration>;
    const STATES: [&str; 7] = [
        "idle",
        "connecting",
        "greeting",
        "joining",
        "introducing",
        "deciding",
        "over",
    ];

    pub(super) fn config() -> connecting::Config {
        connecting::Config {
            resource: name(),
            layout: small_layout(),
            header: Version::V1,
            timeout: TIMEOUT,
        }
    }

    /// A machine in the state of that number, with nothing left to do.
    pub(super) fn in_state(state: usize) -> Machine {
        let mut machine = Machine::new(config());
        let path = [
            connecting::Input::Start,
            connecting::Input::Connected(Which::First),
            connecting::Input::Frame(Which::First, answer_frame(&welcome())),
            connecting::Input::Connected(Which::Second),
            connecting::Input::Identity(identity()),
            connecting::Input::Closed(Which::First),
        ];
        for input in path.into_iter().take(state) {
            machine.handle(Duration::ZERO, input);
        }
        while machine.poll_output().is_some() {}
        machine
    }

    fn word(output: &connecting::Output) -> String {
        match output {
            connecting::Output::Connect(which) => format!("connect {which:?}"),
            connecting::Output::Send(which, version, Opening::First(_)) => {
                format!("first step on {which:?} with {version}")
            }
            connecting::Output::Send(which, version, Opening::Second(step)) => {
                assert_eq!(step.token, TOKEN);
                format!("second step on {which:?} with {version}")
            }
            connecting::Output::NeedIdentity => "need identity".into(),
            connecting::Output::SplitBrain(_) => "split-brain".into(),
            connecting::Output::Established(_) => "established".into(),
            connecting::Output::Failed(failure) => format!("fail: {failure}"),
        }
    }

    /// What an input does in each of the seven states.
    fn row(input: &connecting::Input, at: Duration) -> Vec<String> {
        let cell = |state: usize| {
            let mut machine = in_state(state);
            machine.handle(at, input.clone());
            let words: Vec<_> = core::iter::from_fn(|| machine.poll_output())
                .map(|output| word(&output))
                .collect();
            words.join(", ")
        };
        (0..STATES.len()).map(cell).collect()
    }

    #[test]
    fn every_cell_of_the_table_is_as_it_says() {
        use connecting::Input;
        let none = "";
        let unexpected = "fail: a message on the First connection where none is due";
        let second = "fail: a message on the Second connection where none is due";
        let told = "fail: refused: Remote node acts as primary for the resource and not as \
                    secondary.";
        let missing = "fail: token is missing";
        let (late, early) = (TIMEOUT, TIMEOUT - Duration::from_nanos(1));
        let out = "fail: timed out";
        let closed = "fail: First connection closed";
        let invalid = FrameError::EmptyList;
        let empty = "fail: empty list";
        let accepted = decide_frame(accepted(small_layout()));
        let greeting = answer_frame(&welcome());
        for (input, at, expected) in [
            (
                Input::Start,
                early,
                ["connect First", none, none, none, none, none, none],
            ),
            (
                Input::Connected(Which::First),
                early,
                [
                    none,
                    "first step on First with 1",
                    none,
                    none,
                    none,
                    none,
                    none,
                ],
            ),
            (
                Input::Connected(Which::Second),
                early,
                [none, none, none, "need identity", none, none, none],
            ),
            (
                Input::Identity(identity()),
                early,
                [
                    none,
                    none,
                    none,
                    none,
                    "second step on Second with 2",
                    none,
                    none,
                ],
            ),
            (
                Input::Frame(Which::First, greeting.clone()),
                early,
                [
                    none,
                    unexpected,
                    "connect Second",
                    unexpected,
                    unexpected,
                    "fail: datasize is missing",
                    none,
                ],
            ),
            (
                Input::Frame(Which::First, answer_frame(&refused())),
                early,
                [none, unexpected, told, unexpected, unexpected, told, none],
            ),
            (
                Input::Frame(Which::First, accepted),
                early,
                [
                    none,
                    unexpected,
                    missing,
                    unexpected,
                    unexpected,
                    "established",
                    none,
                ],
            ),
            (
                Input::Frame(Which::Second, answer_frame(&refused())),
                early,
                [none, second, second, second, told, told, none],
            ),
            (
                Input::Frame(Which::Second, greeting),
                early,
                [none, second, second, second, second, second, none],
            ),
            (Input::Timeout, late, [none, out, out, out, out, out, none]),
            (Input::Timeout, early, [none; 7]),
            (
                Input::Closed(Which::First),
                early,
                [none, closed, closed, closed, closed, closed, none],
            ),
            (
                Input::Invalid(Which::First, invalid),
                early,
                [none, empty, empty, empty, empty, empty, none],
            ),
        ] {
            let input = &input;
            assert_eq!(row(input, at), expected, "{input:?} in {STATES:?}");
        }
    }

    #[test]
    fn every_state_between_has_a_deadline() {
        for state in 0..STATES.len() {
            let expected = (1..6).contains(&state).then_some(TIMEOUT);
            assert_eq!(in_state(state).poll_timeout(), expected);
        }
    }

    #[test]
    fn sizes_and_maps_that_do_not_fit_are_refused() {
        let failure = |answer| {
            let mut machine = in_state(5);
            let frame = decide_frame(answer);
            machine.handle(
                Duration::ZERO,
                connecting::Input::Frame(Which::First, frame),
            );
            match machine.poll_output() {
                Some(connecting::Output::Failed(failure)) => failure,
                other => panic!("{other:?}"),
            }
        };
        let with = |data: u64, extent: u64| {
            let mut answer = accepted(small_layout());
            if let SecondAnswer::Accepted(accepted) = &mut answer {
                accepted.standing.data_size = Length::new(data);
                accepted.standing.extent_size = hast_proto::ExtentSize::new(extent).unwrap();
            }
            failure(answer)
        };
        let data = small_layout().data_len().get();
        assert!(matches!(with(data + 512, 8192), Failure::DataSize { .. }));
        assert!(matches!(with(data, 4096), Failure::ExtentSize { .. }));
        let mut answer = accepted(small_layout());
        if let SecondAnswer::Accepted(accepted) = &mut answer {
            let payload = hast_proto::Payload::plain(Bytes::from_static(&[1]));
            accepted.map = hast_proto::message::Map::new(1, payload.unwrap());
        }
        let failure = failure(answer);
        let (have, need) = (Length::new(1), Length::new(2));
        assert_eq!(failure, Failure::Map { have, need });
    }
}

/// A secondary's side with what came out of it.
struct Door {
    machine: SecondaryHandshake<Duration>,
    now: Duration,
    log: Vec<accepting::Output>,
}

impl Door {
    fn closed() -> Self {
        Self {
            machine: SecondaryHandshake::new(accepting::Config::default()),
            now: Duration::ZERO,
            log: Vec::new(),
        }
    }

    fn open() -> Self {
        let mut door = Self::closed();
        door.input(accepting::Input::Role(Role::Secondary));
        door.first(1, TOKEN);
        door
    }

    fn input(&mut self, input: accepting::Input) {
        self.machine.handle(self.now, input);
        self.log
            .extend(core::iter::from_fn(|| self.machine.poll_output()));
    }

    fn opening(&mut self, connection: u64, opening: Opening, access: Access, token: Token) {
        self.input(accepting::Input::Opening {
            connection: Connection(connection),
            opening,
            access,
            token,
        });
    }

    fn first(&mut self, connection: u64, token: Token) {
        let opening = Opening::First(FirstStep {
            resource: name(),
            version: Some(2),
        });
        self.opening(connection, opening, Access::Allowed, token);
    }

    fn second(&mut self, connection: u64, virgin: Virgin) {
        self.second_with(connection, virgin, TOKEN);
    }

    fn second_with(&mut self, connection: u64, virgin: Virgin, token: Token) {
        let opening = Opening::Second(SecondStep {
            resource: name(),
            token,
            virgin: virgin == Virgin::Yes,
            resource_id: Some(identity().resource_id),
            counters: Counters::default(),
            reunion: None,
        });
        self.opening(connection, opening, Access::Allowed, Token::new([9; 16]));
    }

    fn ready(&mut self, metadata: Metadata, consistency: Consistency) {
        let map = vec![0x10; metadata.layout.map_len().to_usize().unwrap()].into();
        self.input(accepting::Input::Ready {
            metadata,
            map,
            consistency,
        });
    }

    fn stored(&mut self, result: Result<(), Errno>) {
        self.input(accepting::Input::Stored(result));
    }

    fn decided(&self) -> Option<SecondAnswer> {
        self.log.iter().find_map(|output| match output {
            accepting::Output::Decide(Connection(1), _, answer) => Some(answer.clone()),
            _ => None,
        })
    }

    /// What came out since the last call, in words.
    fn words(&mut self) -> String {
        use accepting::Output;
        let words: Vec<_> = self
            .log
            .drain(..)
            .map(|output| match output {
                Output::Answer(connection, FirstAnswer::Welcome(_)) => {
                    format!("welcome {}", connection.0)
                }
                Output::Answer(connection, FirstAnswer::Refused(refused)) => {
                    format!("refuse {}: {}", connection.0, refused.reason)
                }
                Output::Decide(connection, _, SecondAnswer::Accepted(_)) => {
                    format!("accept {}", connection.0)
                }
                Output::Decide(connection, _, SecondAnswer::Refused { refused, .. }) => {
                    format!("refuse {}: {}", connection.0, refused.reason)
                }
                Output::Close(connection) => format!("close {}", connection.0),
                Output::Prepare => "prepare".into(),
                Output::StoreMetadata(_) => "store".into(),
                Output::Established(_) => "established".into(),
                Output::SplitBrain { .. } => "split-brain".into(),
                Output::Refused(_, Refusing::Told(_)) => "told".into(),
                Output::Refused(_, refusing) => refusing.to_string(),
            })
            .collect();
        words.join(", ")
    }
}

fn known(local: u64, remote: u64) -> Metadata {
    let mut metadata = small_metadata();
    metadata.resource_id = Some(identity().resource_id);
    metadata.counters = Counters { local, remote };
    metadata.previous_role = Role::Secondary;
    metadata
}

/// A door that is idle, preparing or storing, with one half-open connection (number 3).
fn door_in(state: usize) -> Door {
    let mut door = Door::open();
    if state >= 1 {
        door.second(2, Virgin::Yes);
    }
    if state >= 2 {
        door.ready(small_metadata(), Consistency::Consistent);
    }
    door.first(3, Token::new([3; 16]));
    door.words();
    door
}

#[test]
fn every_cell_of_the_secondary_s_table_is_as_it_says() {
    type Act = fn(&mut Door);
    let cells: [(&str, Act, [&str; 3]); 9] = [
        (
            "first step",
            |door| door.first(9, Token::new([9; 16])),
            ["welcome 9"; 3],
        ),
        (
            "second step",
            |door| door.second_with(9, Virgin::Yes, Token::new([3; 16])),
            [
                "prepare",
                "another handshake is being completed, close 3, close 9",
                "another handshake is being completed, close 3, close 9",
            ],
        ),
        (
            "ready, new",
            |door| door.ready(small_metadata(), Consistency::Consistent),
            ["", "store", ""],
        ),
        (
            "ready, known",
            |door| door.ready(known(0, 0), Consistency::Consistent),
            ["", "accept 1, established", ""],
        ),
        (
            "ready, split-brain impossible but for counters",
            |door| door.ready(known(1, 1), Consistency::Consistent),
            ["", "accept 1, established", ""],
        ),
        (
            "unavailable",
            |door| door.input(accepting::Input::Unavailable("no disk".into())),
            [
                "",
                "told, refuse 1: Remote node was unable to prepare return header: no disk., \
                 close 1, close 2",
                "",
            ],
        ),
        (
            "stored",
            |door| door.stored(Ok(())),
            ["", "", "accept 1, established"],
        ),
        (
            "timeout",
            |door| {
                door.now = TIMEOUT;
                door.input(accepting::Input::Timeout);
            },
            [
                "timed out, close 1, timed out, close 3",
                "timed out, close 3, timed out, close 1, close 2",
                "timed out, close 3, timed out, close 1, close 2",
            ],
        ),
        (
            "closed",
            |door| door.input(accepting::Input::Closed(Connection(1))),
            ["", "close 1, close 2", "close 1, close 2"],
        ),
    ];
    for (what, act, expected) in cells {
        for (state, expected) in expected.into_iter().enumerate() {
            let mut door = door_in(state);
            act(&mut door);
            assert_eq!(door.words(), expected, "{what} in state {state}");
        }
    }
}

#[test]
fn both_sides_agree_and_the_map_arrives() {
    let mut primary = primary::in_state(5);
    let mut door = Door::open();
    door.second(2, Virgin::No);
    door.ready(known(1, 0), Consistency::Consistent);
    let answer = door.decided().unwrap();
    let Some(accepting::Output::Established(Established { rule, .. })) = door.log.last() else {
        panic!("{:?}", door.log);
    };
    assert_eq!(*rule, Rule::SecondaryAhead);
    let input = connecting::Input::Frame(Which::First, decide_frame(answer));
    primary.handle(Duration::ZERO, input);
    let Some(connecting::Output::Established(session)) = primary.poll_output() else {
        panic!("no session");
    };
    assert_eq!(session.source, SyncSource::Secondary);
    assert_eq!(session.map.unwrap(), vec![0x10; 512]);
    assert_eq!(session.peer.local, 1);
}

#[test]
fn a_token_is_good_once_and_not_before_it_was_given() {
    let mut door = Door::closed();
    door.input(accepting::Input::Role(Role::Secondary));
    let wrong = "told, refuse 2: Token doesn't match., close 2";
    door.second_with(2, Virgin::Yes, Token::new([0; 16]));
    assert_eq!(door.words(), wrong);
    door.first(1, TOKEN);
    door.second(2, Virgin::Yes);
    assert_eq!(door.words(), "welcome 1, prepare");
    door.second(2, Virgin::Yes);
    assert_eq!(door.words(), wrong);
}

#[test]
fn a_newcomer_prepares_nothing_before_its_second_step() {
    let mut door = Door::open();
    for connection in 10..100 {
        door.first(connection, Token::new([connection.try_into().unwrap(); 16]));
    }
    let words = door.words();
    assert!(
        !words.contains("prepare") && words.contains("close 95"),
        "{words}"
    );
    // What the flood has left can still be used, and no more than four are kept.
    door.second_with(200, Virgin::Yes, Token::new([96; 16]));
    assert_eq!(door.words(), "prepare");
    door.second_with(201, Virgin::Yes, Token::new([95; 16]));
    assert!(door.words().contains("Token doesn't match."));
}

#[test]
fn whoever_may_not_is_told_so() {
    let mut door = Door::closed();
    let role = |role| {
        format!(
            "told, refuse 5: Remote node acts as {role} for the resource and not as secondary., close 5"
        )
    };
    door.first(5, TOKEN);
    assert_eq!(door.words(), role("init"));
    door.input(accepting::Input::Role(Role::Primary));
    door.first(5, TOKEN);
    let wait = door.log.iter().any(
        |output| matches!(output, accepting::Output::Answer(_, FirstAnswer::Refused(it)) if it.wait),
    );
    assert!(wait, "a primary asks to wait");
    assert_eq!(door.words(), role("primary"));
    door.input(accepting::Input::Role(Role::Secondary));
    let opening = Opening::First(FirstStep {
        resource: name(),
        version: None,
    });
    door.opening(5, opening, Access::Denied, TOKEN);
    assert_eq!(
        door.words(),
        "told, refuse 5: No access to the resource., close 5"
    );
}

#[test]
fn leaving_the_role_closes_everything() {
    let mut door = door_in(1);
    door.input(accepting::Input::Role(Role::Init));
    assert_eq!(door.words(), "close 3, close 1, close 2");
    assert_eq!(door.machine.poll_timeout(), None);
    door.ready(small_metadata(), Consistency::Consistent);
    assert_eq!(door.words(), "");
}

#[test]
fn disagreement_is_told_on_the_first_connection() {
    let refusal = |metadata, consistency| {
        let mut door = Door::open();
        door.second(2, Virgin::No);
        door.words();
        door.ready(metadata, consistency);
        door.words()
    };
    let consistent = Consistency::Consistent;
    let mut other = known(0, 0);
    other.resource_id = ResourceId::new(5);
    assert_eq!(
        refusal(other, consistent),
        "told, refuse 1: Resource unique ID mismatch (primary=77, secondary=5)., close 1, close 2"
    );
    let mut written = small_metadata();
    written.counters.local = 1;
    assert!(refusal(written, consistent).contains("localcnt 1 without a resuid"));
    assert_eq!(
        refusal(known(1, 0), Consistency::Inconsistent),
        "told, refuse 1: Data are inconsistent., close 1, close 2"
    );
}

#[test]
fn an_identity_that_cannot_be_stored_is_not_adopted() {
    let mut door = door_in(2);
    door.stored(Err(Errno::EIO));
    assert!(
        door.words()
            .starts_with("told, refuse 1: Remote node was unable")
    );
}

#[test]
fn nobody_is_let_in_by_what_was_stored_for_somebody_else() {
    let mut door = door_in(2);
    door.input(accepting::Input::Closed(Connection(1)));
    door.words();
    door.second_with(4, Virgin::Yes, Token::new([3; 16]));
    assert_eq!(
        door.words(),
        "another handshake is being completed, close 3, close 4"
    );
    door.stored(Ok(()));
    assert_eq!(door.words(), "");
}

#[test]
fn a_full_map_has_every_bit() {
    let mut door = Door::open();
    door.second(2, Virgin::No);
    door.ready(small_metadata(), Consistency::Consistent);
    door.stored(Ok(()));
    let Some(SecondAnswer::Accepted(accepted)) = door.decided() else {
        panic!("refused");
    };
    let map = accepted.map.unwrap();
    assert_eq!(map.open(map.size()).unwrap(), vec![0xff; 512]);
    assert!(SectorSize::DEFAULT.divides(map.size().get()));
}
