package delivery

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"platen"
	"platen/egress"
	"platen/egress/egresstest"
)

// ways are all the clients that call what customers name, each with what it does at a base
// address. A new one belongs here.
func ways(t *testing.T, o Options) map[string]func(base string) error {
	s, p, w, f := storage(t, o), presigned(t, o), NewWebhooks(o), fetcher(t, o)
	t.Cleanup(w.Close)
	secret := platen.NewSecret(NewWebhookSecret())
	put := func(target Target) error {
		target.AccessKeyID, target.SecretAccessKey, target.Region, target.Bucket = "AKIAPLATEN", secret, "eu-west-3", "docs"
		_, err := s.Put(t.Context(), target, object("k", []byte("x")))
		return err
	}
	return map[string]func(string) error{
		"S3":                     func(base string) error { return put(Target{Endpoint: base, ForcePathStyle: true}) },
		"S3, bucket in the name": func(base string) error { return put(Target{Endpoint: base}) },
		"presigned": func(base string) error {
			_, err := p.Put(t.Context(), platen.PresignedUpload{URL: base + "/k"}, object("", []byte("x")))
			return err
		},
		"webhook": func(base string) error {
			_, err := w.Post(t.Context(), Webhook{URL: base + "/", Secret: secret, ID: "act_1"})
			return err
		},
		"combined source": func(base string) error {
			_, err := f.Fetch(t.Context(), base+"/", 1<<20, io.Discard)
			return err
		},
	}
}

// listening counts what comes to an address of loopback, on a port that is to be the same.
func listening(t *testing.T, address string, answer http.HandlerFunc) (port string, hits *atomic.Int64) {
	t.Helper()
	listener, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	hits = new(atomic.Int64)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Connection", "close") // each call needs a connection of its own
		w.Header().Set("ETag", `"1"`)
		if answer != nil {
			answer(w, r)
		}
	})}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	_, port, _ = net.SplitHostPort(listener.Addr().String())
	return port, hits
}

func codeOf(err error) platen.FailureCode {
	var failure *platen.Failure
	if errors.As(err, &failure) {
		return failure.Code
	}
	return ""
}

// T13: no client reaches a private address, however that is spelled, and although the
// resolver takes every name for this machine.
func TestT13NoSpellingLeadsACustomersAddressToAPrivateOne(t *testing.T) {
	t.Parallel()
	port, hits := listening(t, "127.0.0.1:0", nil)
	here := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	hosts := egresstest.Spellings()
	var bases []string
	for _, host := range hosts {
		bases = append(bases, "http://"+net.JoinHostPort(host, port))
	}
	for _, text := range []string{"http://example.com@127.0.0.1:§", "http://example.com:80@127.0.0.1:§", "http://127.0.0.1:§#@example.com", "http://127.0.0.1:§?@example.com",
		`http://example.com\@127.0.0.1:§`, "HTTP://127.0.0.1:§", "http://127.0.0.1:0§", "http://[127.0.0.1]:§"} {
		bases = append(bases, strings.Replace(text, "§", port, 1))
	}
	if len(bases) < 200 {
		t.Fatalf("there are only %d addresses", len(bases))
	}
	for name, call := range ways(t, Options{Guard: egress.New(egress.Options{Setting: "PLATEN_EGRESS_ALLOW", Resolver: here})}) {
		denied := 0
		for _, base := range bases {
			switch err := call(base); codeOf(err) {
			case platen.FailureEgressDenied:
				denied++
			case platen.FailureConnectionFailed, platen.FailureTimeout, platen.FailureTLS:
				t.Errorf("%s, %s: it was called: %v", name, base, err)
			default: // some are no addresses to begin with
				if err == nil {
					t.Errorf("%s, %s: nothing is wrong with it", name, base)
				}
			}
		}
		// None of these names a host to Go, though some do to browsers.
		for _, text := range []string{`http:\\127.0.0.1:§`, "http:127.0.0.1:§", "//127.0.0.1:§", "http:///127.0.0.1:§", "127.0.0.1:§", "file://127.0.0.1:§"} {
			if call(strings.Replace(text, "§", port, 1)) == nil {
				t.Errorf("%s, %s: nothing is wrong with it", name, text)
			}
		}
		if denied < 200 {
			t.Errorf("%s: %d of %d are denied", name, denied, len(bases))
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d hits", hits.Load())
	}
	// Each of them does reach this machine where that is open.
	for name, call := range ways(t, Options{Guard: loopback(t)}) {
		before := hits.Load()
		if err := call("http://any.test:" + port); err != nil || hits.Load() == before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// T3: of a name that is open at one call and private at the next, only the former arrives.
func TestT3ANameThatTurnsPrivateIsRefusedToEveryClient(t *testing.T) {
	t.Parallel()
	port, hits := listening(t, "127.0.0.1:0", nil)
	_, reached := listening(t, "127.0.0.2:"+port, nil)
	allow, err := egress.ParseAllow("127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	guard := egress.New(egress.Options{Allow: allow, Resolver: func(context.Context, string) ([]netip.Addr, error) {
		if asked.Add(1)%2 == 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::ffff:127.0.0.1")}, nil
	}})
	for name, call := range ways(t, Options{Guard: guard}) {
		asked.Store(0)
		reached.Store(0)
		denied := 0
		for range 1000 {
			switch err := call("http://rebind.test:" + port); {
			case codeOf(err) == platen.FailureEgressDenied:
				denied++
			case err != nil:
				t.Fatalf("%s: %v", name, err)
			}
		}
		if denied != 500 || reached.Load() != 500 || asked.Load() != 1000 {
			t.Errorf("%s: of 1000 calls, %d were denied and %d arrived, and the name was looked up %d times", name, denied, reached.Load(), asked.Load())
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d hits", hits.Load())
	}
}

// T13: a server that may be reached sends a client on to one that may not. Those that
// deliver do not follow it at all, and who fetches judges each address anew.
func TestT13ARedirectLeadsToNoPrivateAddress(t *testing.T) {
	t.Parallel()
	port, hits := listening(t, "127.0.0.1:0", nil)
	for _, status := range []int{http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther, http.StatusTemporaryRedirect, http.StatusPermanentRedirect} {
		for _, to := range []string{"http://127.0.0.1:" + port + "/", "http://localhost:" + port + "/", "http://2130706433:" + port + "/", "http://[::ffff:7f00:1]:" + port + "/", "//127.1:" + port + "/"} {
			open, reached := listening(t, "127.0.0.2:0", func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, "/again") {
					w.Header().Set("Location", to)
				} else {
					w.Header().Set("Location", "/again")
				}
				w.WriteHeader(status)
			})
			allow, err := egress.ParseAllow("127.0.0.2")
			if err != nil {
				t.Fatal(err)
			}
			for name, call := range ways(t, Options{Guard: egress.New(egress.Options{Allow: allow, Resolver: func(_ context.Context, host string) ([]netip.Addr, error) {
				if strings.HasPrefix(host, "docs.") || host == "open.test" {
					return []netip.Addr{netip.MustParseAddr("127.0.0.2")}, nil
				}
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
			}})}) {
				if err := call("http://open.test:" + open); err == nil || name == "combined source" && codeOf(err) != platen.FailureEgressDenied {
					t.Errorf("%s, %d to %s: %v", name, status, to, err)
				}
			}
			if reached.Load() == 0 {
				t.Error("the server that redirects was not called")
			}
		}
	}
	if hits.Load() != 0 {
		t.Errorf("%d hits", hits.Load())
	}
}

// A source that is fetched tells nothing of what stands at a private address.
func TestT13ADeniedAddressSaysNothingOfWhatItIs(t *testing.T) {
	t.Parallel()
	guard := egress.New(egress.Options{Setting: "PLATEN_EGRESS_ALLOW", Resolver: func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("10.11.12.13")}, nil
	}})
	for name, call := range ways(t, Options{Guard: guard}) {
		err := call("http://db.internal:5432")
		var failure *platen.Failure
		if !errors.As(err, &failure) || failure.Code != platen.FailureEgressDenied || failure.Retryable {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if text := failure.Message + string(failure.Details); strings.Contains(text, "10.11.12.13") || bytes.Contains(failure.Details, []byte("dial")) {
			t.Errorf("%s: %s", name, text)
		}
	}
}
