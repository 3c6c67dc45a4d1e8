package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"platen/bench"
)

// figure reads a figure of a node.
func figure(t *testing.T, base, series string) int {
	t.Helper()
	response, err := http.Get(base + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	return 0
}

// Subscribers of one account with the same document and variables cost one execution and
// one encoding for an event; never across accounts, scopes or environments.
func TestSubscribersWhoAskInTheSameWordsShareOneAnswer(t *testing.T) {
	t.Parallel()
	dir := emptyFolder(t)
	p := startProgram(t, dir, testKey, "PLATEN_BOOTSTRAP_LIVE_TOKEN=live-token-of-the-sharing-test", "PLATEN_BOOTSTRAP_TEST_TOKEN=test-token-of-the-sharing-test",
		"DATABASE_URL="+dsnIn(shared.config.dataDir+"/postgres", newDatabase(t)), "PLATEN_BLOB_URL=file://"+dir+"/documents")
	c := &client{t: t, base: p.baseURL, live: "live-token-of-the-sharing-test", test: "test-token-of-the-sharing-test"}
	var made struct{ CreateAPIToken struct{ Secret string } }
	c.do(`mutation { createApiToken(input: {name: "reader", environment: LIVE, scope: READ}) { secret } }`, nil, &made)

	const document = `subscription ($after: String, $life: Int) { documentFeed(after: $after) { __typename ... on DocumentChange { cursor document { id state downloadUrl(expiresIn: $life) } } } }`
	subscribe := func(n int, token, document string, variables vars) (all []*subscription) {
		for range n {
			s := c.subscribe(token, document, variables)
			s.read() // FeedReady
			all = append(all, s)
		}
		return all
	}
	groups := map[string][]*subscription{
		"the same words":   append(subscribe(10, c.live, document, vars{"life": 600}), subscribe(10, c.live, document, vars{"life": 600, "after": nil})...),
		"another variable": subscribe(5, c.live, document, vars{"life": 601}),
		"another document": subscribe(5, c.live, document+" ", vars{"life": 600}),
		"another scope":    subscribe(5, made.CreateAPIToken.Secret, document, vars{"life": 600}),
		"a test token":     subscribe(5, c.test, document, vars{"life": 600}),
	}
	before, sharedBefore := figure(t, c.base, `platen_subscription_answers_total{answer="made"}`), figure(t, c.base, `platen_subscription_answers_total{answer="shared"}`)
	a := c.ask(c.test, `mutation { createSubmission(input: {html: "<p>x</p>"}) { submission { id } userErrors { message } } }`, nil)
	if !bytes.Contains(a.Data, []byte("sub_")) {
		t.Fatalf("%s %+v", a.Data, a.Errors)
	}
	for name, group := range groups {
		var first [2]string
		for i, s := range group {
			for n, state := range []string{"PENDING", "PROCESSED"} {
				f := s.read()
				if f.Type != "next" || !strings.Contains(string(f.Payload), `"state":"`+state+`"`) {
					t.Fatalf("%s: %s %s, want %s", name, f.Type, f.Payload, state)
				}
				if i == 0 {
					first[n] = string(f.Payload)
				} else if string(f.Payload) != first[n] {
					t.Errorf("%s: %s, want %s", name, f.Payload, first[n])
				}
			}
		}
	}
	if n := figure(t, c.base, `platen_subscription_answers_total{answer="made"}`) - before; n != 2*len(groups) {
		t.Errorf("%d answers were made, want 2 for each of %d", n, len(groups))
	}
	if n := figure(t, c.base, `platen_subscription_answers_total{answer="shared"}`) - sharedBefore; n != 2*(40-len(groups)) {
		t.Errorf("%d answers were shared, want %d", n, 2*(40-len(groups)))
	}
	if n := figure(t, c.base, "platen_connections"); n != 40 {
		t.Errorf("%d connections, want 40", n)
	}
}

// memory is what a process has in memory, in bytes.
func memory(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n << 10 // the kernel says kB, and means KiB
}

// The long form is the figure of docs/realtime.md: TEST_LONG=1 go test ./cmd/platen -run TestIdle -v
func TestIdleSubscribersCostAtMost60KBEach(t *testing.T) {
	t.Parallel()
	total := 2000
	if os.Getenv("TEST_LONG") != "" {
		total = 5000
	}
	p := serveProcess(t, emptyFolder(t))
	ready(t, p)
	c := &client{t: t, base: p.base, live: p.tokens()[0]}
	tokens := make([]string, 5) // of which each may have 2,000
	for i := range tokens {
		var made struct{ CreateAPIToken struct{ Secret string } }
		c.do(`mutation { createApiToken(input: {name: "reader", environment: LIVE, scope: READ}) { secret } }`, nil, &made)
		tokens[i] = made.CreateAPIToken.Secret
	}
	const document = `subscription { documentFeed { __typename ... on DocumentChange { cursor document { id state } } } }`
	open := func(n int) {
		var some sync.WaitGroup
		for worker := range 10 {
			some.Go(func() {
				for range n / 10 {
					c.subscribe(tokens[worker%len(tokens)], document, nil).read() // FeedReady
				}
			})
		}
		some.Wait()
	}
	open(100) // what all need together
	before := memory(t, p.cmd.Process.Pid)
	open(total)
	each := (memory(t, p.cmd.Process.Pid) - before) / total
	bench.Row{Name: fmt.Sprintf("(h) memory of a node for each of %d idle subscribers", total), Unit: "bytes", Ours: bench.Series{float64(each)}, Goal: "60000"}.Print(t)
	if each > 60_000 {
		t.Errorf("%d bytes of memory for each of %d idle subscribers, want 60,000 at most", each, total)
	}
}

// computed is the time for which a process has computed, in ticks of a hundredth of a
// second; 0 of one that has ended.
func computed(t *testing.T, pid int) int {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:])) // the first is the third of proc_pid_stat(5)
	user, userErr := strconv.Atoi(fields[14-3])
	system, systemErr := strconv.Atoi(fields[15-3])
	if userErr != nil || systemErr != nil {
		t.Fatalf("%s", stat)
	}
	return user + system
}

// The long form is the figure of docs/realtime.md: TEST_LONG=1 go test ./cmd/platen -run TestTelling -v
func TestTellingManyTheSameInTheSameWordsCostsLess(t *testing.T) {
	t.Parallel()
	readers, rounds := 200, 10
	if os.Getenv("TEST_LONG") != "" {
		readers, rounds = 500, 20
	}
	p := serveProcess(t, emptyFolder(t))
	ready(t, p)
	c := &client{t: t, base: p.base, live: p.tokens()[0]}
	groups := map[string][]*subscription{}
	for i := range readers {
		for _, group := range []string{"shared", "alone"} {
			document := `subscription { documentFeed(filter: {metadata: {group: "` + group + `"}}) { __typename ... on DocumentChange { cursor at
				document { id state final test metadata revision createdAt expiresAt actions { id state } } } } }`
			if group == "alone" {
				document += fmt.Sprint(" # ", i)
			}
			s := c.subscribe(c.live, document, nil)
			s.read() // FeedReady
			groups[group] = append(groups[group], s)
		}
	}
	took := map[string]int{}
	for range rounds {
		for group, all := range groups {
			before := computed(t, p.cmd.Process.Pid)
			c.submit(vars{"html": "<p>x</p>", "metadata": vars{"group": group}})
			for _, s := range all {
				s.read() // PENDING
				s.read() // PROCESSED
			}
			took[group] += computed(t, p.cmd.Process.Pid) - before
		}
	}
	each := func(group string) float64 { return float64(took[group]) * 10_000 / float64(2*readers*rounds) }
	t.Logf("for each of %d answers, the server computed %.0f µs when they were shared, %.0f µs when not: %.1f times as long",
		2*readers*rounds, each("shared"), each("alone"), each("alone")/each("shared"))
	if took["alone"] <= took["shared"] {
		t.Error("sharing gains little")
	}
}
