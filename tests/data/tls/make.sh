#!/bin/sh
# SPDX-License-Identifier: BSD-2-Clause
# Makes the certificates of the tests afresh, valid for a hundred years. They
# protect nothing: the keys are public. Needs OpenSSL 1.1.1 or newer.
# shellcheck disable=SC2086 # $long is several words
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
long="-startdate 20200101000000Z -enddate 21200101000000Z"
trap 'rm -rf "$work"' EXIT

key() { openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null ||
    openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

sign() { # name, subject alternative names, options of openssl ca
    name=$1 alternative=$2
    shift 2
    key "$name.key"
    openssl req -new -key "$name.key" -subj "/CN=$name test" -out "$work/$name.csr"
    printf '%s\n' "basicConstraints=critical,CA:FALSE" "keyUsage=critical,digitalSignature" \
        "extendedKeyUsage=serverAuth,clientAuth" "subjectAltName=$alternative" \
        "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" >"$work/$name.ext"
    openssl ca -batch -notext -config "$work/ca.conf" -extfile "$work/$name.ext" \
        -in "$work/$name.csr" -out "$name.pem" "$@" 2>/dev/null
}

cat >"$work/ca.conf" <<CONF
[ca]
default_ca = test
[test]
database = $work/index
new_certs_dir = $work
serial = $work/serial
private_key = $work/ca.key
certificate = ca.pem
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
CONF
: >"$work/index"
echo 1000 >"$work/serial"
key "$work/ca.key"
openssl req -new -key "$work/ca.key" -subj "/CN=test authority" -out "$work/ca.csr"
printf '%s\n' "basicConstraints=critical,CA:TRUE" "keyUsage=critical,keyCertSign,cRLSign" \
    "subjectKeyIdentifier=hash" "authorityKeyIdentifier=keyid" >"$work/ca.ext"
openssl ca -batch -notext -config "$work/ca.conf" -extfile "$work/ca.ext" -selfsign \
    -keyfile "$work/ca.key" -in "$work/ca.csr" -out ca.pem $long 2>/dev/null

names="DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"
sign good "$names" $long
sign wrongname "DNS:other.example.org" $long
sign expired "$names" -startdate 20200101000000Z -enddate 20210101000000Z
sign client "DNS:client.example.org" $long
openssl pkey -in client.key -aes256 -passout pass:secret -out client-locked.key
sign selfsigned "$names" $long -selfsign -keyfile selfsigned.key

# Authorities that are their own servers, as made by hand: without key usage; one without a name
# but in its subject.
alone() { # name, further extension
    key "$1.key"
    openssl req -new -key "$1.key" -subj "/CN=localhost" -out "$work/$1.csr"
    printf '%s\n' "basicConstraints=CA:TRUE" ${2:+"$2"} >"$work/$1.ext"
    openssl ca -batch -notext -config "$work/ca.conf" -extfile "$work/$1.ext" -selfsign \
        -keyfile "$1.key" -in "$work/$1.csr" -out "$1.pem" $long 2>/dev/null
}
alone handmade "subjectAltName=DNS:localhost"
alone commonname
alone mailonly "subjectAltName=email:patching@example.org"
alone otheraddress "subjectAltName=IP:127.0.0.2"
