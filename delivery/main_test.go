package delivery

import (
	"context"
	"log"
	"net/netip"
	"os"
	"testing"

	"platen/egress"
	"platen/liquid"
	"platen/sandbox"
)

// keys is shared by the tests: workers take a moment to start.
var keys *Keys

func TestMain(m *testing.M) {
	sandbox.Main()
	engine, err := liquid.New(liquid.Options{Workers: 2})
	if err != nil {
		log.Fatal(err)
	}
	keys = NewKeys(engine)
	code := m.Run()
	_ = engine.Close()
	os.Exit(code)
}

// loopback is a guard that lets tests reach their own servers. Names end there as well.
func loopback(t testing.TB) *egress.Guard {
	t.Helper()
	allow, err := egress.ParseAllow("127.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	return egress.New(egress.Options{Allow: allow, Resolver: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}})
}
