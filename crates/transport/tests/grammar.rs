//! Connection strings: what is accepted, what is refused and with which words, what is shown.

use std::net::IpAddr;

use outpost_transport::{ClientTransport, Listener, ServerTransport};
use proptest::prelude::*;

fn server(text: &str) -> Result<ServerTransport, String> {
    text.parse().map_err(|error: outpost_transport::TransportError| error.to_string())
}

fn client(text: &str) -> Result<ClientTransport, String> {
    text.parse().map_err(|error: outpost_transport::TransportError| error.to_string())
}

fn shows_server(text: &str, expected: &str) {
    assert_eq!(server(text).map(|transport| transport.to_string()).as_deref(), Ok(expected), "{text}");
}

fn shows_client(text: &str, expected: &str) {
    assert_eq!(client(text).map(|transport| transport.to_string()).as_deref(), Ok(expected), "{text}");
}

fn server_refuses(text: &str, words: &str) {
    let error = server(text).expect_err(text);
    assert!(error.contains(words), "{text}: {error}");
}

fn client_refuses(text: &str, words: &str) {
    let error = client(text).expect_err(text);
    assert!(error.contains(words), "{text}: {error}");
}

#[test]
fn servers() {
    shows_server("tcp:port=1025", "tcp:Port=1025");
    shows_server("TCP:PORT=51:60,Hidden", "tcp:Port=51:60,Hidden");
    shows_server(" tcp: port = 1025 , IcfEnable ", "tcp:Port=1025");
    shows_server("tcp:port=1025,password=Xy12,bind=0.0.0.0", "tcp:Port=1025,Bind=0.0.0.0,Password=*");
    shows_server("tcp:port=0,bind=[::1]", "tcp:Port=0,Bind=::1");
    shows_server("tcp:port=1,bind=*,ipversion=6", "tcp:Port=1,Bind=::,IpVersion=6");
    shows_server("npipe:pipe=p%d_%x,password=a", "npipe:Pipe=p%d_%x,Password=*");
    let ServerTransport::Tcp(tcp) = server("tcp:port=7,bind=localhost").unwrap() else { panic!() };
    assert_eq!(tcp.bind, Some("127.0.0.1".parse::<IpAddr>().unwrap()));
}

#[test]
fn clients() {
    shows_client("tcp:server=alder,port=1025", "tcp:Port=1025,Server=alder");
    shows_client("tcp:Port=1025,Server=\\\\alder,Password=Zz9", "tcp:Port=1025,Server=alder,Password=*");
    shows_client("tcp:server=[fe80::1%eth0],port=5", "tcp:Port=5,Server=fe80::1%eth0");
    shows_client("tcp:server=@{alder},port=5,ipversion=6", "tcp:Port=5,Server=alder,IpVersion=6");
    shows_client("npipe:pipe=lab", "npipe:Pipe=lab,Server=.");
    shows_client("npipe:server=localhost,pipe=lab", "npipe:Pipe=lab,Server=.");
    shows_client("ssh:server=me@alder", "ssh:Server=me@alder");
    shows_client("SSH:port=2222,server=alder,path=~/a,copy=yes", "ssh:Server=alder,Port=2222,Path=@{~/a},Copy=yes");
    shows_client("exec: docker exec -i 'a b' dbgsrv, --stdio ", "exec:docker exec -i 'a b' dbgsrv, --stdio");
    shows_client("exec:@{sh -c \"a,b\"}", "exec:sh -c \"a,b\"");
    shows_client("tcp:port=6000:6010,clicon=\\\\alder,password=a", "tcp:Port=6000:6010,CliCon=alder,Password=*");
}

#[test]
fn reverse_servers() {
    shows_server("tcp:port=6002,clicon=[::1],password=Zz9", "tcp:Port=6002,CliCon=::1,Password=*");
    assert!(server("tcp:port=6002,clicon=birch").unwrap().is_hidden(), "never listed");
    server_refuses("tcp:port=0,clicon=birch", "the side that dials names one port");
    server_refuses("tcp:port=5,clicon=*", "a host is a name or an address");
    server_refuses("tcp:port=5,clicon=birch,bind=*", "'bind' and 'clicon' cannot be used together");
    client_refuses("tcp:port=5,clicon=*", "a host is a name or an address");
}

#[test]
fn over_tls_a_reverse_connection_has_the_keys_of_the_other_side() {
    let thumbprint = "AB".repeat(32);
    // The server connects, so it names the one certificate that it takes, and shows one of its own.
    shows_server(
        &format!("ssl:port=9,clicon=birch,certuser={thumbprint},clientcert=me,password=a"),
        &format!("ssl:Port=9,CliCon=birch,CertUser={thumbprint},ClientCert=me,Password=*"),
    );
    server_refuses("ssl:port=5,clicon=birch", "needs certuser=THUMBPRINT");
    server_refuses(&format!("ssl:port=5,clicon=birch,certuser=x,clientcert={thumbprint}"), "NAME, for NAME.crt");
    // The client listens, so it has a certificate without being told, and lists those that it lets in.
    shows_client("ssl:port=9:12,clicon=alder", "ssl:Port=9:12,CliCon=alder");
    shows_client(
        &format!("ssl:port=9,clicon=alder,machuser=x,clientcert={thumbprint};{thumbprint}"),
        &format!("ssl:Port=9,CliCon=alder,MachUser=x,ClientCert={thumbprint};{thumbprint}"),
    );
    client_refuses("ssl:port=5,clicon=alder,clientcert=me", "parted by semicolons");
    client_refuses("ssl:port=5,clicon=alder,server=alder", "'server' and 'clicon'");
    shows_server("spipe:pipe=p,clicon=.,certuser=x", "spipe:Pipe=p,CliCon=.,CertUser=x");
    shows_client("spipe:pipe=p%d,clicon=localhost", "spipe:Pipe=p%d,CliCon=localhost");
    client_refuses("spipe:pipe=p%z,clicon=.", "where it listens it may contain %d");
    server_refuses("spipe:pipe=p,clicon=alder.example,certuser=x", "reaches only this machine");
    client_refuses("npipe:pipe=p,clicon=alder.example", "reaches only this machine");
}

#[test]
fn mistakes_are_named() {
    server_refuses("1025", "does not start with a protocol");
    server_refuses("udp:port=1", "unknown protocol 'udp'");
    server_refuses("tcp:", "tcp: needs 'port='");
    server_refuses("tcp:port", "'port' needs a value");
    server_refuses("tcp:port=70000", "port=70000 is not valid");
    server_refuses("tcp:port=9:5", "port=9:5 is not valid");
    server_refuses("tcp:port=5,port=6", "'port' is given twice");
    server_refuses("tcp:port=5,hidden=1", "'hidden' takes no value");
    server_refuses("tcp:port=5,server=alder", "does not take 'server' here; it takes port, hidden");
    server_refuses("tcp:port=5,password=", "it is empty");
    server_refuses("tcp:port=5,password=a\tb\u{7f}c", "control character");
    server_refuses("tcp:port=5,bind=alder", "bind=alder is not valid");
    server_refuses("tcp:port=5,hidden,clicon=birch", "'hidden' and 'clicon' cannot be used together");
    server_refuses("tcp:port=5:6,clicon=birch", "the side that dials names one port");
    for name in ["a/b", "a b", "a\"b", "a'b", "a\0b", ".hidden", "%s", "%d%d%d", ""] {
        server_refuses(&format!("npipe:pipe={name}"), "a pipe name has");
    }
    client_refuses("tcp:server=alder", "tcp: needs 'port='");
    client_refuses("tcp:port=5", "tcp: needs 'server='");
    client_refuses("tcp:server=alder,port=5:6", "the side that dials names one port");
    client_refuses("tcp:server=alder,port=0", "the side that dials names one port");
    client_refuses("tcp:server=a,clicon=b,port=5", "'server' and 'clicon' cannot be used together");
    client_refuses("npipe:server=alder.example,pipe=x", "use ssl: or tcp:, or forward the socket");
    client_refuses("spipe:server=alder.example,pipe=x,certuser=me", "spipe: reaches only this machine");
    client_refuses("tcp:server=@{a,port=5", "braces");
    client_refuses("ssh:server=-oProxyCommand=id", "server=-oProxyCommand=id is not valid");
    client_refuses("ssh:server=alder,password=Xy12", "ssh: does not take 'password' here; it takes server, port, path");
    client_refuses("ssh:server=alder,copy=perhaps", "yes or no");
    client_refuses("exec:", "cannot be split into words");
    client_refuses("exec:sh -c 'x", "a quotation mark is missing");
    server_refuses("exec:cat", "can only be used by a client");
    server_refuses("ssh:server=alder", "can only be used by a client");
}

#[test]
fn a_wrong_value_of_a_password_is_not_repeated() {
    let error = server("tcp:port=5,password=s3c\u{1}ret").unwrap_err();
    assert!(!error.contains("s3c"), "{error}");
    let error = server("password=s3cret").unwrap_err();
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn passwords_of_any_length_and_kind() {
    let password = |text: &str| client(&format!("tcp:server=a,port=5,password={text}")).unwrap().password().cloned();
    let long = "correct horse ".repeat(100);
    for (given, meant) in [
        ("Xy12", "Xy12"),
        ("p\u{e4}ss w\u{f6}rd!=;\"'$", "p\u{e4}ss w\u{f6}rd!=;\"'$"),
        ("@{a,b}", "a,b"),
        ("@{ a @{b,c} }", " a @{b,c} "),
        ("@{@a}", "@a"),
        (&long, long.trim_end()),
    ] {
        assert_eq!(password(given).unwrap().reveal().unwrap(), meant);
    }
}

#[test]
fn a_password_in_a_file_is_not_looked_at_before_it_is_needed() {
    // Strings come from strangers, too: from lists of servers.
    for text in ["tcp:server=a,port=5,password=@/etc/passwd", "npipe:pipe=a,Password=@/nonexistent/file"] {
        let transport = client(text).unwrap();
        assert!(transport.to_string().ends_with(",Password=*") && !format!("{transport:?}").contains("etc"));
        let error = transport.password().unwrap().reveal().unwrap_err().to_string();
        assert!(error.contains("the password file /") && error.contains("cannot be used"), "{error}");
    }
    client_refuses("tcp:server=a,port=5,password=@", "no file is named");
    let error = Listener::bind(&server("tcp:port=0,password=@/nonexistent/file").unwrap()).unwrap_err();
    assert!(error.to_string().contains("/nonexistent/file"), "{error}");
}

#[test]
fn certificates_are_named_by_thumbprint_or_file() {
    let (sha1, sha256) = ("AB".repeat(20), "0C".repeat(32));
    shows_server("ssl:port=5", "ssl:Port=5");
    shows_server("ssl:proto=tls1,port=5:9,certuser=lab,hidden", "ssl:Port=5:9,CertUser=lab,Hidden");
    shows_server(&format!("SSL:machuser={},port=5", "ab:".repeat(20)), &format!("ssl:Port=5,MachUser={sha1}"));
    shows_server(&format!("ssl:certuser={},port=5", "0c ".repeat(32)), &format!("ssl:Port=5,CertUser={sha256}"));
    let two = format!("spipe:Pipe=x,ClientCert={sha1};{sha256},Password=*");
    shows_server(&format!("spipe:pipe=x,clientcert={sha1}; {sha256},password=p"), &two);
    let client = format!("ssl:Port=5,Server=alder,CertUser={sha256},ClientCert=ada");
    shows_client(&format!("ssl:proto=tls13,clientcert=ada,server=alder,port=5,certuser={sha256}"), &client);
    shows_client(&format!("spipe:pipe=x,machuser={sha1}"), &format!("spipe:Pipe=x,Server=.,MachUser={sha1}"));
    for older in ["pct1", "ssl2", "ssl3", "tls12"] {
        server_refuses(&format!("ssl:proto={older},port=1"), "older protocols are not secure");
    }
    server_refuses("ssl:port=1,certuser=a,machuser=b", "cannot be used together");
    for name in ["../x", ".x", "a b", ""] {
        server_refuses(&format!("ssl:port=1,certuser={name}"), "40 or 64 hexadecimal digits");
        client_refuses(&format!("ssl:server=a,port=1,certuser=x,clientcert={name}"), "NAME.crt");
    }
    server_refuses("ssl:port=1,clientcert=ada", "parted by semicolons");
    client_refuses("ssl:server=a,port=1", "needs certuser=THUMBPRINT");
    client_refuses("spipe:pipe=a", "needs certuser=THUMBPRINT");
}

#[test]
fn later_protocols_are_checked_and_then_refused() {
    client_refuses("gdb:server=a,port=1,threadEvents=true", "not in this release");
    server_refuses("gdb:server=a,port=1", "by a client");
}

#[test]
fn serial_lines() {
    shows_server("com:port=com2,baud=115200,channel=3", "com:Port=com2,Baud=115200,Channel=3");
    shows_server(
        "COM:Port=/dev/ttyUSB0,Baud=9600,Channel=254,Hidden,Password=a",
        "com:Port=/dev/ttyUSB0,Baud=9600,Channel=254,Hidden,Password=*",
    );
    shows_client("com:port=ttyS1,baud=300,channel=0,password=a", "com:Port=ttyS1,Baud=300,Channel=0,Password=*");
    for (port, device) in
        [("com2", "/dev/ttyS1"), ("COM999", "/dev/ttyS998"), ("7", "/dev/ttyS6"), ("ttyX", "/dev/ttyX")]
    {
        let ClientTransport::Com(com) = client(&format!("com:port={port},baud=1,channel=1")).unwrap() else { panic!() };
        assert_eq!(com.device(), std::path::Path::new(device));
    }
    server_refuses("com:port=com2,baud=9600,channel=255", "a number from 0 to 254");
    server_refuses("com:port=com0,baud=9600,channel=1", "com1 (which is /dev/ttyS0)");
    server_refuses("com:port=tty/../x,baud=9600,channel=1", "com1 (which is /dev/ttyS0)");
    server_refuses("com:port=com1,baud=0,channel=1", "a rate in bits per second");
    server_refuses("com:port=com1,channel=1", "com: needs 'baud='");
    client_refuses("com:port=com1,baud=1,channel=1,hidden", "does not take 'hidden' here");
}

#[test]
fn codes_of_a_pipe_name_become_pid_and_tid() {
    let ServerTransport::Npipe(pipe) = server("npipe:pipe=p%d_%x").unwrap() else { panic!() };
    assert_eq!(pipe.expanded_name(4711, 0x1a2b), "p4711_1a2b");
    let ServerTransport::Npipe(pipe) = server("npipe:pipe=%x").unwrap() else { panic!() };
    assert_eq!(pipe.expanded_name(255, 1), "ff");
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in "(tcp|npipe|ssl|ssh|exec|x)?:?[ -~\u{e9}]{0,60}") {
        let _ = server(&text);
        let _ = client(&text);
    }

    #[test]
    fn what_is_shown_parses_to_the_same(first in 0_u16.., more in 0_u16..9, hidden: bool, bind: Option<[u8; 4]>) {
        let mut text = format!("tcp:port={first}:{}", first.saturating_add(more));
        if let Some(bind) = bind {
            text += &format!(",bind={}", std::net::Ipv4Addr::from(bind));
        }
        if hidden {
            text += ",hidden";
        }
        let transport = server(&text).unwrap();
        prop_assert_eq!(server(&transport.to_string()).unwrap(), transport);
    }
}
