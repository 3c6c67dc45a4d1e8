package egress

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseAllowNamesEveryBadEntry(t *testing.T) {
	bad := []string{
		"http://minio.lan", "10.0.0.0/33", "10.0.0/8", "127.1", "0x7f000001", "minio.lan:0", "minio.lan:70000", "minio.lan:http",
		"a b", "*.lan", "[::1", "::1]:9000", "10.0.0.1:x", "::ffff:10.0.0.0/80", "a..b", ":9000", "minio.lan:", strings.Repeat("a", 64) + ".lan",
	}
	_, err := ParseAllow("10.0.0.0/8," + strings.Join(bad, ",") + ",minio.lan")
	if err == nil {
		t.Fatal("bad entries were accepted")
	}
	for _, entry := range bad {
		if !strings.Contains(err.Error(), `"`+entry+`"`) {
			t.Errorf("%q is not named in: %v", entry, err)
		}
	}
	if !strings.Contains(err.Error(), "minio.lan:9000") || !strings.Contains(err.Error(), "10.0.0.0/8") {
		t.Errorf("the error does not say what an entry looks like: %v", err)
	}
}

func TestAllowListsNetworksAddressesAndHosts(t *testing.T) {
	allow, err := ParseAllow(" 127.0.0.0/8, ::ffff:192.168.0.0/112 ,10.0.0.7,10.0.0.8:9000,[::1]:9000,fe80::/10,fd00::1,Minio.LAN:9000,files.lan.,")
	if err != nil {
		t.Fatal(err)
	}
	for target, want := range map[string]bool{
		"127.0.0.1:1": true, "127.255.0.1:65535": true, "128.0.0.1:1": false,
		"192.168.3.4:80": true, "192.169.0.1:80": false,
		"10.0.0.7:1": true, "10.0.0.6:1": false,
		"10.0.0.8:9000": true, "10.0.0.8:9001": false,
		"[::1]:9000": true, "[::1]:9001": false,
		"[fe80::1]:80": true, "[fd00::1]:80": true, "[fd00::2]:80": false,
	} {
		if got := allow.address(netip.MustParseAddrPort(target)); got != want {
			t.Errorf("%s: allowed %t, want %t", target, got, want)
		}
	}
	for target, want := range map[string]bool{
		"minio.lan 9000": true, "MINIO.lan. 9000": true, "minio.lan 9001": false,
		"files.lan 1": true, "x.files.lan 1": false, "lan 9000": false,
	} {
		host, port, _ := strings.Cut(target, " ")
		if got := allow.host(host, port); got != want {
			t.Errorf("%s: allowed %t, want %t", target, got, want)
		}
	}
}

func TestAnEmptyAllowListIsValid(t *testing.T) {
	allow, err := ParseAllow("  ")
	if err != nil || allow.host("localhost", "80") || allow.address(netip.MustParseAddrPort("127.0.0.1:80")) {
		t.Errorf("%v %v", allow, err)
	}
}
