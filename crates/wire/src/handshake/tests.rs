//! Both sides against each other, and each against strangers.

use outpost_target::fake::FakeTarget;

use super::resume::{CALLS, LOGS, PAGES, RESIZE, RESUME, STACK_ARGUMENTS, TIMES};
use super::*;
use crate::auth::{Key, NONCE_LEN};
use crate::frame::{Frame, Header};
use crate::{WireError, proto};

const SALT: &[u8] = b"salt";

fn frame(payload: &Payload) -> Frame<'_> {
    assert!(payload.tail.is_empty());
    let header = Header { kind: payload.kind, request: OPEN_REQUEST, ..Header::default() };
    Frame { header, message: &payload.message, tail: &[] }
}

fn server(password: &str) -> ServerHandshake {
    ServerHandshake::new(Key::derive(password, SALT, Key::ITERATIONS), SALT, [2; NONCE_LEN])
}

fn client(password: &str) -> (ClientHandshake, Payload) {
    let identity = Identity { user: "ada".into(), host: "birch\n".into() };
    ClientHandshake::start(
        password,
        [1; NONCE_LEN],
        identity,
        Wish::Open { take_command_line: true, on_lost: None, opening: Opening::default() },
    )
}

/// Runs both; gives what the server was asked for, or why one of the two gave up.
fn meet(client_password: &str, server_password: &str) -> Result<OpenRequest, WireError> {
    let (mut client, hello) = client(client_password);
    let mut server = server(server_password);
    let ServerStep::Send(challenge) = server.handle(&frame(&hello)) else { panic!("no challenge") };
    let ClientStep::Send { authenticate, open, .. } = client.handle(&frame(&challenge))? else { panic!("no proof") };
    let proof = match server.handle(&frame(&authenticate)) {
        ServerStep::Send(proof) => proof,
        ServerStep::Refuse(refusal, _) => return Err(client.handle(&frame(&refusal)).unwrap_err()),
        ServerStep::Open(_) | ServerStep::Resume(_) => panic!("open without being asked"),
        ServerStep::List => panic!("a list that nobody asked for"),
    };
    assert!(matches!(client.handle(&frame(&proof))?, ClientStep::Wait));
    let ServerStep::Open(request) = server.handle(&frame(&open)) else { panic!("not opened") };
    let target = FakeTarget::with_threads(1);
    let opened = Opened {
        session: 7,
        token: vec![9; 16],
        info: target.info.clone(),
        capabilities: Capabilities {
            live: true,
            resizes_terminals: true,
            tells_thread_times: true,
            calls_functions: true,
            passes_by_stack: true,
            watches_by_pages: true,
            has_jump_data: true,
            ..Capabilities::default()
        },
        stop: None,
        command_line: vec!["./daemon".into()],
        grace: Duration::from_secs(60),
    };
    let answer = encode_opened(opened.clone());
    let ClientStep::Opened { opened: seen, .. } = client.handle(&frame(&answer))? else { panic!("not opened") };
    assert_eq!(seen, opened);
    Ok(request)
}

#[test]
fn the_right_password_opens_a_session() {
    for password in ["", "Xy12"] {
        let request = meet(password, password).unwrap();
        assert_eq!(request.identity, Identity { user: "ada".into(), host: "birch".into() });
        assert!(request.take_command_line);
        assert_eq!(
            request.agreed,
            Agreed { version: 1, frame_bytes: MAX_FRAME, requests: MAX_REQUESTS, resume: false }
        );
    }
}

#[test]
fn a_wrong_password_is_refused_alike_whether_one_is_set_or_not() {
    let texts: Vec<_> = [("", "Xy12"), ("xy12", "Xy12"), ("Xy12", "")]
        .map(|(given, set)| meet(given, set).unwrap_err().to_string())
        .into();
    assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
    assert!(texts[0].contains("authentication failed") && texts[0].contains("0x80004005"), "{}", texts[0]);
}

#[test]
fn the_challenge_tells_nothing_of_the_password() {
    let (_, hello) = client("");
    let challenge = |password| match server(password).handle(&frame(&hello)) {
        ServerStep::Send(payload) => payload,
        other => panic!("{other:?}"),
    };
    assert_eq!(challenge(""), challenge("Xy12"));
}

#[test]
fn a_server_that_does_not_know_the_password_is_told_from_one_that_does() {
    let (mut client, hello) = client("Xy12");
    let ServerStep::Send(challenge) = server("").handle(&frame(&hello)) else { panic!() };
    client.handle(&frame(&challenge)).unwrap();
    let forged = payload(Kind::Authenticated, &proto::Authenticated { proof: vec![0; 32] });
    assert_eq!(client.handle(&frame(&forged)).unwrap_err(), WireError::ServerNotAuthentic);
}

#[test]
fn a_proof_is_of_no_use_on_another_channel() {
    let bound = |binding: &[u8], server_binding: &[u8]| {
        let (mut client, hello) = client("Xy12");
        client.bind_channel(binding);
        let mut server = server("Xy12");
        server.bind_channel(server_binding);
        let ServerStep::Send(challenge) = server.handle(&frame(&hello)) else { panic!("no challenge") };
        let ClientStep::Send { authenticate, .. } = client.handle(&frame(&challenge)).unwrap() else { panic!() };
        match server.handle(&frame(&authenticate)) {
            ServerStep::Send(proof) => Ok(client.handle(&frame(&proof)).map(drop)),
            ServerStep::Refuse(_, error) => Err(error),
            ServerStep::Open(_) | ServerStep::Resume(_) | ServerStep::List => panic!("not what was asked for"),
        }
    };
    assert_eq!(bound(&[1; 32], &[1; 32]), Ok(Ok(())));
    // Somebody in between has one channel with each of the two and passes on what they say; or one of them is plain.
    for (client, server) in [(&[1; 32][..], &[2; 32][..]), (&[1; 32], &[]), (&[], &[2; 32])] {
        assert_eq!(bound(client, server), Err(WireError::Authentication));
    }
}

#[test]
fn other_versions_are_refused_naming_both() {
    let mut hello = proto::ClientHello {
        magic: MAGIC.to_vec(),
        versions: vec![7, 8],
        release: "9.9".into(),
        features: Vec::new(),
        limits: Some(limits(MAX_FRAME)),
        nonce: vec![0; NONCE_LEN],
    };
    let refuse = |hello: &proto::ClientHello| match server("").handle(&frame(&payload(Kind::ClientHello, hello))) {
        ServerStep::Refuse(payload, error) => (payload, error.to_string()),
        other => panic!("{other:?}"),
    };
    let (refusal, newer) = refuse(&hello);
    assert!(newer.contains("protocol 7, 8") && newer.contains("the server is older"), "{newer}");
    assert!(newer.contains("not using same version of remoting protocol as the"), "{newer}");
    // The client of this release makes its own sentence of the same facts.
    let (mut client, _) = client("");
    let error = client.handle(&frame(&refusal)).unwrap_err();
    assert!(matches!(error, WireError::Version(_)), "{error}");
    hello.versions = vec![0];
    assert!(refuse(&hello).1.contains("the client is older"));
}

#[test]
fn strangers_and_rule_breakers_are_refused() {
    let refuse = |mut server: ServerHandshake, payload: &Payload| match server.handle(&frame(payload)) {
        ServerStep::Refuse(_, error) => error,
        other => panic!("{other:?}"),
    };
    let garbage = Payload { kind: Kind::ClientHello.number(), message: vec![0xff; 9], tail: Vec::new() };
    assert!(matches!(refuse(server(""), &garbage), WireError::Malformed { .. }));
    let early = payload(Kind::OpenSession, &proto::OpenSession::default());
    assert_eq!(refuse(server(""), &early), WireError::NotOutpost);
    let nobody = payload(Kind::ClientHello, &proto::ClientHello::default());
    assert_eq!(refuse(server(""), &nobody), WireError::NotOutpost);
    // A proof is asked for once.
    let (_, hello) = client("");
    let mut greeted = server("");
    greeted.handle(&frame(&hello));
    assert!(matches!(refuse(greeted, &hello), WireError::UnexpectedKind { .. }));
}

#[test]
fn a_frame_limit_nobody_could_work_with_is_refused() {
    let tiny = proto::Limits { frame_bytes: 100, requests: 1 };
    assert_eq!(agree(1, Some(tiny), &[]), None);
    assert_eq!(agree(1, None, &[]), None);
    let huge = proto::Limits { frame_bytes: u32::MAX, requests: u32::MAX };
    assert_eq!(agree(1, Some(huge), &[]).map(|agreed| agreed.frame_bytes), Some(MAX_FRAME));
}

/// What a release after this one may add to a message: a field of a number that nobody has yet, length 3.
const NEW_FIELD: &[u8] = &[0xba, 0x3f, 3, 1, 2, 3];

/// A client and a server whose hellos were changed on purpose, before they were said; what the server was asked for, what
/// the client takes it for, and what came of it.
fn meet_another_release(
    change_client: impl FnOnce(&mut proto::ClientHello),
    change_server: impl FnOnce(&mut proto::ServerHello),
    is_newer: bool,
) -> Result<(OpenRequest, Agreed, Opened), WireError> {
    let more: &[u8] = if is_newer { NEW_FIELD } else { &[] };
    let (client, hello) = client("Xy12");
    let mut message: proto::ClientHello = crate::message::decode(&frame(&hello))?;
    change_client(&mut message);
    let mut hello = payload(Kind::ClientHello, &message);
    hello.message.extend(more);
    let mut client = client.having_said(&hello);
    let mut server = server("Xy12").offering_resume(true);
    let ServerStep::Send(challenge) = server.handle(&frame(&hello)) else { panic!("refused") };
    let mut message: proto::ServerHello = crate::message::decode(&frame(&challenge))?;
    change_server(&mut message);
    let mut challenge = payload(Kind::ServerHello, &message);
    challenge.message.extend(more);
    let mut server = server.having_said(&challenge);
    let ClientStep::Send { authenticate, mut open, .. } = client.handle(&frame(&challenge))? else {
        panic!("no proof")
    };
    open.message.extend(more);
    let ServerStep::Send(proof) = server.handle(&frame(&authenticate)) else { panic!("not believed") };
    assert!(matches!(client.handle(&frame(&proof))?, ClientStep::Wait));
    let ServerStep::Open(request) = server.handle(&frame(&open)) else { panic!("not opened") };
    let opened = Opened {
        session: 7,
        token: Vec::new(),
        info: FakeTarget::with_threads(1).info.clone(),
        capabilities: Capabilities { live: true, ..Capabilities::default() },
        stop: None,
        command_line: Vec::new(),
        grace: Duration::ZERO,
    };
    let mut answer = encode_opened(opened);
    answer.message.extend(more);
    let ClientStep::Opened { opened, agreed } = client.handle(&frame(&answer))? else { panic!("not opened") };
    Ok((request, agreed, opened))
}

#[test]
fn clients_one_release_older_or_newer_are_served() {
    // Before sessions outlived their link: the server holds none for it, and says nothing of them.
    let older = |hello: &mut proto::ClientHello| {
        hello.release = "0.0.9".into();
        hello.features.clear();
    };
    let told = |hello: &mut proto::ServerHello| assert!(hello.features.is_empty(), "{:?}", hello.features);
    let (request, ..) = meet_another_release(older, told, false).unwrap();
    assert!(!request.agreed.resume);
    // It knows a version, a feature and fields that are not there yet.
    let newer = |hello: &mut proto::ClientHello| {
        hello.release = "0.2.0".into();
        hello.versions.push(2);
        hello.features.push("teleport".into());
    };
    let told = |hello: &mut proto::ServerHello| {
        assert_eq!(hello.version, 1, "the highest that both know");
        assert_eq!(
            hello.features,
            [RESUME, RESIZE, TIMES, CALLS, STACK_ARGUMENTS, PAGES, LOGS],
            "those that both know"
        );
    };
    let (request, agreed, _) = meet_another_release(newer, told, true).unwrap();
    assert!(request.agreed.resume && agreed.version == 1);
}

#[test]
fn servers_one_release_older_or_newer_are_used_as_far_as_they_go() {
    let older = |hello: &mut proto::ServerHello| {
        hello.release = "0.0.9".into();
        hello.features.clear();
    };
    let (_, agreed, opened) = meet_another_release(|_| {}, older, false).unwrap();
    assert!(
        !agreed.resume && !opened.capabilities.resizes_terminals,
        "what is missing is known before it is asked for"
    );
    let newer = |hello: &mut proto::ServerHello| {
        hello.release = "0.2.0".into();
        hello.features.push("teleport".into());
    };
    let (_, agreed, opened) = meet_another_release(|_| {}, newer, true).unwrap();
    assert!(agreed.resume && opened.capabilities.resizes_terminals);
    // One that chooses what it was not offered is none of ours.
    let error = meet_another_release(|_| {}, |hello| hello.version = 2, false).unwrap_err();
    assert!(matches!(error, WireError::Field { .. }), "{error}");
}

/// Client and server, one of which may be of the release before; what they agree on.
fn agree_on_resuming(client_knows: bool, server_knows: bool) -> Result<ResumeRequest, WireError> {
    let key = ResumeKey { session: 7, token: vec![9; 16] };
    let identity = Identity { user: "ada".into(), host: String::new() };
    let (mut client, mut hello) = ClientHandshake::start("", [1; NONCE_LEN], identity, Wish::Resume(key));
    if !client_knows {
        let mut message: proto::ClientHello = crate::message::decode(&frame(&hello)).unwrap();
        message.features.clear();
        hello = payload(Kind::ClientHello, &message);
    }
    let mut server = server("").offering_resume(server_knows);
    let ServerStep::Send(challenge) = server.handle(&frame(&hello)) else { panic!("no challenge") };
    let ClientStep::Send { authenticate, open, agreed } = client.handle(&frame(&challenge))? else {
        panic!("no proof")
    };
    assert!(agreed.resume);
    let ServerStep::Send(proof) = server.handle(&frame(&authenticate)) else { panic!("no proof") };
    assert!(matches!(client.handle(&frame(&proof))?, ClientStep::Wait));
    let sent = Frame { header: Header { seen: 33, ..frame(&open).header }, ..frame(&open) };
    let ServerStep::Resume(request) = server.handle(&sent) else { panic!("not resumed") };
    let end = client.handle(&frame(&encode_resumed(RequestId(12))))?;
    assert!(matches!(end, ClientStep::Resumed { carried_out: RequestId(12), .. }));
    Ok(request)
}

#[test]
fn a_client_comes_back_to_its_session() {
    let request = agree_on_resuming(true, true).unwrap();
    assert_eq!((request.session, request.token.as_slice(), request.seen), (7, &[9; 16][..], 33));
    assert!(request.agreed.resume);
}

#[test]
fn a_release_without_resuming_is_told_apart_before_anything_is_asked() {
    for (client, server) in [(true, false), (false, true)] {
        let error = agree_on_resuming(client, server).unwrap_err();
        assert!(matches!(error, WireError::Feature { .. }), "{error}");
        assert!(error.to_string().contains("knows no sessions that outlive their link"), "{error}");
    }
}

#[test]
fn what_becomes_of_a_session_arrives_and_what_is_unknown_is_the_default() {
    let second = std::time::Duration::from_secs(1);
    for on_lost in [OnLost::Hold(None), OnLost::Hold(Some(second)), OnLost::Detach, OnLost::Run(None), OnLost::Kill] {
        assert_eq!(OnLost::from_message(on_lost.to_message()), Some(on_lost));
    }
    assert_eq!(OnLost::from_message(proto::OnLost { action: 77, seconds: None }), None);
}

#[test]
fn whoever_asks_for_servers_is_answered_without_a_proof() {
    let server_list = |count: usize| -> Vec<ListedServer> {
        let kinds = [ServerKind::Debugger, ServerKind::Process, ServerKind::Kernel];
        let one = |at: usize| ListedServer { kind: kinds[at % 3], transport: format!("tcp:Port={at},Password=*") };
        (0..count).map(one).collect()
    };
    assert!(matches!(server("Xy12").handle(&frame(&encode_query())), ServerStep::List));
    let few = server_list(3);
    let list = decode_servers(&frame(&encode_servers(&few))).unwrap();
    assert_eq!((list.servers.as_slice(), list.more), (few.as_slice(), false));
    assert_eq!(few[1].to_string(), "Remote Process Server - tcp:Port=1,Password=*");
    // However many there are, the answer is one small frame.
    let many = encode_servers(&server_list(1000));
    assert!(many.frame_len() <= HANDSHAKE_FRAME);
    let list = decode_servers(&frame(&many)).unwrap();
    assert!(list.more && list.servers.len() > 50, "{}", list.servers.len());
    // A stranger's question is none, and it is asked instead of a hello, not later.
    let stranger = payload(Kind::QueryServers, &proto::QueryServers { magic: b"X".to_vec() });
    assert!(matches!(server("").handle(&frame(&stranger)), ServerStep::Refuse(_, WireError::NotOutpost)));
    let mut greeted = server("");
    greeted.handle(&frame(&client("").1));
    assert!(matches!(greeted.handle(&frame(&encode_query())), ServerStep::Refuse(..)));
    let refusal = encode_refusal(RefusalCode::Busy, "later");
    assert_eq!(decode_servers(&frame(&refusal)).unwrap_err().to_string(), "later");
}
