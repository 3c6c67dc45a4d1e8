package egress

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Allow lists what may be reached although it is not public. The zero value
// lists nothing.
type Allow struct {
	networks []netip.Prefix
	// endpoints are single addresses with a port.
	endpoints map[netip.AddrPort]bool
	// hosts holds names as "name", for every port, and as "name:port".
	hosts map[string]bool
}

// ParseAllow reads a comma separated list of networks (10.0.0.0/8), addresses
// (10.0.0.7, [::1]:9000) and host names (minio.lan, minio.lan:9000). Without a
// port, an entry opens every port. The error names every bad entry.
func ParseAllow(text string) (Allow, error) {
	allow := Allow{endpoints: map[netip.AddrPort]bool{}, hosts: map[string]bool{}}
	var bad []string
	for entry := range strings.SplitSeq(text, ",") {
		entry = strings.TrimSpace(entry)
		if entry != "" && !allow.add(entry) {
			bad = append(bad, strconv.Quote(entry))
		}
	}
	if len(bad) > 0 {
		return Allow{}, fmt.Errorf("not a network or host: %s; an entry is a network such as 10.0.0.0/8, an address such as "+
			"10.0.0.7 or [::1]:9000, or a host name such as minio.lan or minio.lan:9000", strings.Join(bad, ", "))
	}
	return allow, nil
}

func (a *Allow) add(entry string) bool {
	if strings.Contains(entry, "/") {
		network, err := netip.ParsePrefix(entry)
		if err != nil {
			return false
		}
		if network.Addr().Is4In6() {
			if network.Bits() < 96 {
				return false
			}
			network = netip.PrefixFrom(network.Addr().Unmap(), network.Bits()-96)
		}
		a.networks = append(a.networks, network.Masked())
		return true
	}
	bare := entry
	if strings.HasPrefix(entry, "[") && strings.HasSuffix(entry, "]") {
		bare = entry[1 : len(entry)-1]
	}
	if address, err := netip.ParseAddr(bare); err == nil {
		address = plain(address)
		a.networks = append(a.networks, netip.PrefixFrom(address, address.BitLen()))
		return true
	}
	host, portText, err := net.SplitHostPort(entry)
	if err != nil {
		host, portText = entry, ""
	} else if port, err := strconv.ParseUint(portText, 10, 16); err != nil || port == 0 {
		return false
	} else if address, err := netip.ParseAddr(host); err == nil {
		a.endpoints[netip.AddrPortFrom(plain(address), uint16(port))] = true
		return true
	}
	host = canonical(host)
	if !isHostName(host) {
		return false
	}
	if portText != "" {
		host += ":" + portText
	}
	a.hosts[host] = true
	return true
}

// host tells whether the name itself is listed, whatever it resolves to.
func (a Allow) host(name, port string) bool {
	name = canonical(name)
	return a.hosts[name] || a.hosts[name+":"+port]
}

func (a Allow) address(target netip.AddrPort) bool {
	if a.endpoints[target] {
		return true
	}
	for _, network := range a.networks {
		if network.Contains(target.Addr()) {
			return true
		}
	}
	return false
}

// plain is the address without what only disguises it: the IPv6 form of an IPv4
// address, and a zone, with which no prefix would contain it.
func plain(address netip.Addr) netip.Addr {
	return address.Unmap().WithZone("")
}

func canonical(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

func isHostName(host string) bool {
	if len(host) > 253 || endsInNumber(host) {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

// endsInNumber tells whether a host is an IPv4 address to browsers and to
// getaddrinfo, as 127.1, 0x7f000001 and 2130706433 are
// (https://url.spec.whatwg.org/#ends-in-a-number-checker).
func endsInNumber(host string) bool {
	host = canonical(host)
	last := host[strings.LastIndexByte(host, '.')+1:]
	if hex, ok := strings.CutPrefix(last, "0x"); ok {
		return strings.Trim(hex, "0123456789abcdef") == ""
	}
	return last != "" && strings.Trim(last, "0123456789") == ""
}
