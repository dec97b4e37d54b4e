//! `gateway.listen`: the reverse proxy's listeners, each an address or a table. A single one needs no list around it.

use crate::reader::{Field, Reader};
use crate::scalar;
use crate::settings::{Listener, ListenerTls};

pub(crate) fn read_all(field: Field<'_>) -> Option<Vec<Listener>> {
    if field.is_empty_list() {
        field.fault("is empty: the reverse proxy needs at least one listener");
        return None;
    }
    if field.is_one() {
        return one(field).map(|listener| vec![listener]);
    }
    field.list(one)
}

fn one(field: Field<'_>) -> Option<Listener> {
    if field.is_table() {
        return field.table(read);
    }
    field.parse(scalar::socket_address).map(Listener::plain)
}

fn read(table: &mut Reader<'_>) -> Option<Listener> {
    let address = table.required("address", "\"127.0.0.1:7080\"", |field| {
        field.parse(scalar::socket_address)
    });
    let tls = table.take("tls").map(|field| field.table(read_tls));
    let (mut proxy_protocol, mut h2c) = (false, false);
    table.read("proxy_protocol", &mut proxy_protocol, |field| field.boolean());
    table.read("h2c", &mut h2c, |field| field.boolean());
    if h2c && tls.is_some() {
        table.fault("h2c", "is for plain listeners: one with TLS offers HTTP/2 by itself");
        return None;
    }
    // An absent table is a plain listener, a faulty one is no listener.
    let tls = match tls {
        None => None,
        Some(tls) => Some(tls?),
    };
    Some(Listener {
        address: address?,
        tls,
        proxy_protocol,
        h2c,
    })
}

fn read_tls(table: &mut Reader<'_>) -> Option<ListenerTls> {
    let cert = table.required("cert", "\"server.pem\"", Field::readable_file);
    let key = table.required("key", "\"server-key.pem\"", Field::readable_file);
    Some(ListenerTls { cert: cert?, key: key? })
}
