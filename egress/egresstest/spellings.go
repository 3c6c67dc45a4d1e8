// Package egresstest spells the addresses that nobody may reach by default, in all the ways
// that some reader of addresses takes for them.
package egresstest

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// refusedV4 are of every kind of IPv4 address that is not public.
var refusedV4 = []string{
	"127.0.0.1", "127.255.255.254", "0.0.0.0", // this machine
	"10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.255.255", // private (RFC 1918)
	"100.64.0.1", "100.127.255.255", "169.254.0.1", // carrier-grade NAT, link-local
	"169.254.169.254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16", // metadata of clouds
	"224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "198.18.0.1", "192.88.99.1", // multicast, broadcast, reserved
}

// refusedV6 are of every kind of IPv6 address that is not public, but for those that carry
// one of IPv4.
var refusedV6 = []string{
	"::1", "0:0:0:0:0:0:0:1", "::0001", "0000:0000:0000:0000:0000:0000:0000:0001", "::", "0::0", "::1%lo", "::1%25lo",
	"fe80::1", "fe80::1%lo", "fe80::1%eth0", "FE80::1%25eth0", "febf::1", "fec0::1", "fc00::1", "fd00::1", "fdff:ffff::1",
	"fd00:ec2::254", "FD00:EC2::254", "fd00:0ec2:0000:0000:0000:0000:0000:0254", "fd20:ce::254", // metadata of clouds
	"ff02::1", "ff0e::1", "2001:db8::1", "3fff::1", "100::1", "64:ff9b:1::1", "5f00::1",
}

// names are what resolvers take for this machine or for a metadata service, and texts that a
// browser's reading makes an address of.
var names = []string{
	"localhost", "LOCALHOST", "LocalHost", "localhost.", "localhost.localdomain", "x.localhost", "ip6-localhost", "loopback",
	"metadata.google.internal", "metadata", "instance-data", "127.0.0.1.", "127.0.0.1..", "0177.1.", "127.1.",
	"127.0.0.1.nip.io", "7f000001.nip.io", "spoofed.burpcollaborator.net",
	"１２７.０.０.１", "127。0。0。1", "①②⑦.⓪.⓪.①", "ｌｏｃａｌｈｏｓｔ", "%31%32%37.0.0.1", "127.0.0.1%00", "127.0.0.1%2f", "127.0.0.1 ", "\t127.0.0.1",
	"127.0.0.0x1", "127.00000000001", "0x7f.0x0000000001", "0x00000000000000007f000001", "4294967295", "0xffffffff",
}

// Spellings are hosts, as they stand between http:// and the port but for the brackets, in
// the order of what they mean.
func Spellings() []string {
	var all []string
	for _, text := range refusedV4 {
		address := netip.MustParseAddr(text)
		all = append(all, spellV4(address)...)
		all = append(all, inV6(address)...)
	}
	all = append(append(all, refusedV6...), names...)
	return slices.CompactFunc(all, strings.EqualFold)
}

// spellV4 are the forms of inet_aton and of browsers: parts in decimal, octal and
// hexadecimal, and fewer of them (https://url.spec.whatwg.org/#concept-ipv4-parser).
func spellV4(address netip.Addr) []string {
	b := address.As4()
	whole := binary.BigEndian.Uint32(b[:])
	return []string{
		address.String(), address.String() + ".",
		fmt.Sprintf("%03d.%03d.%03d.%03d", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0%o.0%o.0%o.0%o", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0x%x.0x%x.0x%x.0x%x", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("0X%02X.%d.0%o.%d", b[0], b[1], b[2], b[3]),
		fmt.Sprintf("%d.%d", b[0], whole&0xffffff), fmt.Sprintf("%d.%d.%d", b[0], b[1], whole&0xffff),
		fmt.Sprint(whole), fmt.Sprintf("0x%08x", whole), fmt.Sprintf("0X%X", whole), fmt.Sprintf("0%o", whole),
	}
}

// inV6 are the ways of IPv6 to carry an IPv4 address.
func inV6(address netip.Addr) []string {
	b := address.As4()
	hex := fmt.Sprintf("%x:%x", uint16(b[0])<<8|uint16(b[1]), uint16(b[2])<<8|uint16(b[3]))
	all := []string{
		"::ffff:" + address.String(), "::ffff:" + hex, "0:0:0:0:0:FFFF:" + address.String(), // mapped (RFC 4291)
		"::ffff:" + address.String() + "%lo",
		"::ffff:0:" + address.String(), "::" + address.String(), // translated (RFC 2765), compatible (RFC 4291)
		"64:ff9b::" + address.String(), "64:ff9b::" + hex, // NAT64 (RFC 6052)
		"2002:" + hex + "::", "2002:" + hex + "::1", // 6to4 (RFC 3056)
		// Teredo (RFC 4380), as the server and, with its bits turned, as the client
		"2001:0:" + hex + "::1", fmt.Sprintf("2001::%x:%x", ^(uint16(b[0])<<8 | uint16(b[1])), ^(uint16(b[2])<<8 | uint16(b[3]))),
	}
	return all
}
