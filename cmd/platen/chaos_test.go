package main

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"platen/delivery/s3test"
)

// chaos runs nodes as real processes on a PostgreSQL of its own, lets clients give them
// work, and kills, cuts and fills what they depend on. In the end it heals all of it and
// asks whether anything that was accepted is lost.
//
// A seed decides all that the harness decides: each actor draws from a stream of its own,
// so that what one does does not depend on how fast another is. When a process is hit
// depends on the machine.
type chaos struct {
	t       *testing.T
	seed    uint64
	kills   int // how many there are to be; 0: each kind of fault once
	nodes   []*node
	dir     string
	started time.Time

	postgres *postmaster
	db       *sql.DB // straight to PostgreSQL, past the nodes' links
	disk     *disk
	buckets  *s3test.Server
	modes    map[string]*mode // of the buckets, by name
	hook     *receiver
	clients  []*actor
	dead     string // the id of the integration whose bucket never answers

	mu     sync.Mutex
	log    []string
	counts map[string]int // faults, failed starts and refused calls, by kind
}

const (
	// killsVariable asks for the long form: so many kills.
	killsVariable = "TEST_KILLS"
	// seedVariable replays the decisions of an earlier run.
	seedVariable = "TEST_SEED"
	// logsVariable names a folder in which the logs of the nodes and of the harness are kept.
	logsVariable = "TEST_LOGS"

	// settleTime bounds how long all may take to come to an end once everything is
	// healed: attempts of documents are a minute apart at most.
	settleTime = 5 * time.Minute
)

func TestR9_1NothingThatWasAcceptedIsLostWhateverDies(t *testing.T) {
	// It is by itself: some tests have limits on time, and this one leaves no processor idle.
	c := newChaos(t)
	defer c.tell()
	c.open()
	c.rage()
	c.heal()
	c.settle()
	c.judge()
	c.close()
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	c := &chaos{t: t, seed: rand.Uint64N(1e9), started: time.Now(), counts: map[string]int{}, dir: emptyFolder(t)}
	var err error
	if text := os.Getenv(seedVariable); text != "" {
		if c.seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
	}
	if text := os.Getenv(killsVariable); text != "" {
		if c.kills, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", killsVariable, err)
		}
	}
	t.Logf("seed %d", c.seed)
	return c
}

// The streams of the actors; clients have theirs from clientStream on.
const (
	setupStream = iota
	faultStream
	clientStream
)

func (c *chaos) stream(actor uint64) *rand.Rand { return rand.New(rand.NewPCG(c.seed, actor)) }

// between is a length of time of an actor's choice.
func between(r *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(r.Int64N(int64(most-least)))
}

// note writes down what was done when.
func (c *chaos) note(format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.log = append(c.log, fmt.Sprintf("%8.3f  ", time.Since(c.started).Seconds())+fmt.Sprintf(format, args...))
}

// problem is what should not have been.
func (c *chaos) problem(format string, args ...any) {
	c.t.Helper()
	c.note("PROBLEM: "+format, args...)
	c.t.Errorf(format, args...)
}

func (c *chaos) count(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.counts[kind]++
}

// killed is how many kills there were.
func (c *chaos) killed() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.killedSoFar()
}

// killedSoFar is killed with the lock held.
func (c *chaos) killedSoFar() (n int) {
	for kind, times := range c.counts {
		if strings.HasPrefix(kind, "kill: ") {
			n += times
		}
	}
	return n
}

// tell prints what there was, and for a run that failed how to replay it.
func (c *chaos) tell() {
	c.mu.Lock()
	defer c.mu.Unlock()
	var table strings.Builder
	for _, kind := range slices.Sorted(maps.Keys(c.counts)) {
		fmt.Fprintf(&table, "%6d  %s\n", c.counts[kind], kind)
	}
	c.t.Logf("seed %d, %d nodes, %d kills, %v:\n%s", c.seed, len(c.nodes), c.killedSoFar(), time.Since(c.started).Round(time.Second), table.String())
	if dir := os.Getenv(logsVariable); dir != "" {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d-harness.log", c.seed)), []byte(strings.Join(c.log, "\n")+"\n"), 0o600); err != nil {
			c.t.Error(err)
		}
	}
	if !c.t.Failed() {
		return
	}
	kills := ""
	if c.kills > 0 {
		kills = fmt.Sprintf(" %s=%d", killsVariable, c.kills)
	}
	c.t.Logf("what was done when:\n%s\nreplay it with\n  %s=%d%s go test ./cmd/platen -run '^%s$' -v -count 1 -timeout 60m",
		strings.Join(c.log, "\n"), seedVariable, c.seed, kills, c.t.Name())
}

// open starts everything.
func (c *chaos) open() {
	c.t.Helper()
	setup := c.stream(setupStream)
	nodes, clients := 2, 3
	if c.kills > 0 {
		nodes = 1 + setup.IntN(3)
	}
	c.openPostgres()
	c.disk = c.openDisk()
	c.buckets = newS3(c.t, "first", "second", "dead")
	c.modes = map[string]*mode{}
	for _, bucket := range []string{"first", "second", "dead"} {
		c.modes[bucket] = &mode{}
		// The faults of a bucket are each for one request: more than there will ever be.
		c.buckets.Fault(bucket, slices.Repeat([]s3test.Fault{c.modes[bucket].fault}, 200_000)...)
	}
	c.modes["dead"].set(s3test.SlowDown())
	c.hook = newReceiver(c.t)
	for i := range nodes {
		c.nodes = append(c.nodes, c.newNode(fmt.Sprint("node-", i+1)))
	}
	for _, n := range c.nodes {
		n.begin() // all at once, on a database without tables
	}
	for _, n := range c.nodes {
		if n.awaitReady(time.Now().Add(patience)) == nil {
			c.t.Fatalf("%s does not get ready:\n%s", n.name, n.tail())
		}
	}
	first := &client{t: c.t, base: c.nodes[0].address(), live: chaosToken}
	paths := vars{"pathTemplates": vars{"combinedSubmission": "combined/{{ combined_submission_id }}.pdf"}}
	first.integrate(c.buckets, "first", paths)
	first.integrate(c.buckets, "second", paths)
	c.dead = first.integrate(c.buckets, "dead", paths)
	var hooked struct{ Integration *struct{ ID string } }
	if errs := first.change(chaosToken, `mutation ($input: CreateWebhookIntegrationInput!) { createWebhookIntegration(input: $input) { integration { id } `+userErrors+` } }`,
		vars{"input": vars{"name": "Orders", "url": c.hook.URL}}, &hooked); len(errs) > 0 {
		c.t.Fatalf("%+v", errs)
	}
	for i := range clients {
		c.clients = append(c.clients, c.newActor(i))
	}
	c.note("%d nodes and %d clients are ready", nodes, clients)
}

// rage lets the clients work while things break.
func (c *chaos) rage() {
	working, stop := context.WithCancel(c.t.Context())
	var clients sync.WaitGroup
	backlog := c.watchBacklog(working)
	for _, a := range c.clients {
		clients.Go(func() { a.work(working, backlog) })
	}
	var faults sync.WaitGroup // those that last a while
	r := c.stream(faultStream)
	told := 0
	for {
		deck, longest := slices.Clone(everyFault), time.Second
		if c.kills > 0 {
			deck, longest = slices.Clone(manyFaults), 2*time.Second
		}
		r.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		for _, one := range deck {
			pause := between(r, 200*time.Millisecond, longest)
			hit := one(c, r)
			time.Sleep(pause)
			c.awaitWork()
			faults.Go(hit)
		}
		if c.killed() >= c.kills || c.t.Failed() {
			break
		}
		if killed := c.killed(); killed >= told+25 {
			told = killed
			c.t.Logf("%d kills after %v", killed, time.Since(c.started).Round(time.Second))
		}
	}
	faults.Wait()
	stop()
	c.note("the last fault is over")
	c.healAll()
	clients.Wait() // each until its last call is acknowledged
}

// workTime bounds how long a fault waits for something that it can hit.
const workTime = 20 * time.Second

// awaitWork waits until there is something under way that can be hit: faults that meet
// nodes that are down already show nothing. It may be that nothing gets under way before
// another fault is over.
func (c *chaos) awaitWork() {
	for deadline := time.Now().Add(workTime); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		if running, err := c.column(`select id::text from river.river_job where state = 'running' and kind in ('render_submission', 'combine_submissions')`); err == nil && len(running) > 0 &&
			slices.ContainsFunc(c.nodes, func(n *node) bool { return n.current() != nil }) {
			return
		}
	}
}

// heal waits until everything is as it should be.
func (c *chaos) heal() {
	for _, n := range c.nodes {
		if n.awaitReady(time.Now().Add(patience)) == nil {
			c.t.Fatalf("%s does not get ready after everything is healed:\n%s", n.name, n.tail())
		}
	}
	c.note("everything is healed")
}

func (c *chaos) healAll() {
	c.disk.free()
	c.hook.failing.Store(false)
	for name, m := range c.modes {
		if name != "dead" {
			m.set(nil)
		}
	}
	for _, n := range c.nodes {
		n.flow()
	}
}

// close stops the nodes, and looks for what they left behind.
func (c *chaos) close() {
	for _, n := range c.nodes {
		n.end()
	}
	c.judgeRemains()
	c.judgeLogs()
}

// hit is a fault that is about to be. What of it is random is decided already.
type hit func()

// fault decides on a fault; the hit may last a while.
type fault func(c *chaos, r *rand.Rand) hit

// everyFault is each kind once: the short form.
var everyFault = []fault{killNode, terminateNode, killBrowser, killPage, killWorker, terminateBackend, killBackend, killPostmaster,
	cutLink, refuseLink, stallLink, spoilBucket, spoilBucket, spoilHook, fillDisk}

// manyFaults is what the long form repeats: what is killed more often is killed more
// often here.
var manyFaults = slices.Concat(everyFault, []fault{killNode, killNode, terminateNode, killBrowser, killWorker, terminateBackend, killPostmaster,
	cutLink, spoilBucket, spoilBucket, loseLink, freezeNode})

// killNode is a process that dies with no word, and is started again after a while.
func killNode(c *chaos, r *rand.Rand) hit {
	victim, down := c.nodes[r.IntN(len(c.nodes))], between(r, 0, 3*time.Second)
	return func() { c.hitNode(victim, syscall.SIGKILL, down) }
}

// terminateNode is what a deployment does.
func terminateNode(c *chaos, r *rand.Rand) hit {
	victim, down := c.nodes[r.IntN(len(c.nodes))], between(r, 0, time.Second)
	return func() { c.hitNode(victim, syscall.SIGTERM, down) }
}

func (c *chaos) hitNode(victim *node, signal syscall.Signal, down time.Duration) {
	// What is stopping can still be killed.
	if !victim.kill(signal, down) && (victim.awaitReady(time.Now().Add(patience)) == nil || !victim.kill(signal, down)) {
		c.note("%s is not running, so it gets no %v", victim.name, signal)
		return
	}
	c.note("%s gets %v, and is down for %v", victim.name, signal, down.Round(time.Millisecond))
	c.count(fmt.Sprintf("kill: node, %v", signal))
}

func killBrowser(c *chaos, r *rand.Rand) hit {
	return c.killChild(r, "browser", func(command []string) bool {
		return isChromium(command) && !slices.ContainsFunc(command, func(arg string) bool { return strings.HasPrefix(arg, "--type=") })
	})
}

func killPage(c *chaos, r *rand.Rand) hit {
	return c.killChild(r, pageProcess, func(command []string) bool { return isChromium(command) && slices.Contains(command, "--type=renderer") })
}

const pageProcess = "page's process"

func killWorker(c *chaos, r *rand.Rand) hit {
	return c.killChild(r, "sandbox worker", func(command []string) bool { return command[0] == "platen-sandbox-worker" })
}

func isChromium(command []string) bool {
	return slices.ContainsFunc(command, func(arg string) bool {
		return strings.HasPrefix(arg, "--user-data-dir=") || strings.HasPrefix(arg, "--type=")
	})
}

// killChild kills a child process of a node.
func (c *chaos) killChild(r *rand.Rand, what string, match func(command []string) bool) hit {
	victim, which := r.IntN(len(c.nodes)), r.IntN(1<<20)
	return func() {
		// There may be none at the moment: the nodes are starting, or have no page open.
		for deadline := time.Now().Add(workTime); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
			for i := range c.nodes {
				n := c.nodes[(victim+i)%len(c.nodes)]
				life := n.current()
				if life == nil {
					continue
				}
				if pid := killOne(c.t, life.pid(), which, match); pid > 0 {
					c.note("%s loses a %s (%d)", n.name, what, pid)
					c.count("kill: " + what)
					return
				}
			}
		}
		c.note("no node has a %s to lose", what)
	}
}

// terminateBackend ends one session of a node.
func terminateBackend(c *chaos, r *rand.Rand) hit {
	which := r.Float64()
	return func() {
		// It may be that there is none at the moment, or no PostgreSQL to ask.
		var err error
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
			var pid int
			if err = c.db.QueryRowContext(c.t.Context(), `with sessions as (select pid, row_number() over (order by pid) - 1 as n, count(*) over () as total
					from pg_stat_activity where application_name = 'platen' and datname = 'platen')
				select pid from sessions where n = floor(total * $1::float8) and pg_terminate_backend(pid)`, which).Scan(&pid); err == nil {
				c.note("the session %d is terminated", pid)
				c.count("kill: session, pg_terminate_backend")
				return
			}
		}
		c.problem("there is no session to be terminated: %v", err)
	}
}

// killBackend kills one process of PostgreSQL, after which it ends all sessions and
// recovers by itself.
func killBackend(c *chaos, r *rand.Rand) hit {
	which := r.IntN(1 << 20)
	return func() {
		if pid := c.postgres.killOne(which); pid > 0 {
			c.note("PostgreSQL loses the process %d", pid)
			c.count("kill: process of PostgreSQL")
		}
	}
}

// killPostmaster kills PostgreSQL, which is started again after a while.
func killPostmaster(c *chaos, r *rand.Rand) hit {
	down := between(r, 0, 2*time.Second)
	return func() {
		c.note("the postmaster is killed, and PostgreSQL is down for %v", down.Round(time.Millisecond))
		c.postgres.kill(down)
		c.count("kill: postmaster")
	}
}

// links are those of one node or of all.
func (c *chaos) links(r *rand.Rand) (links []*node, names string) {
	if which := r.IntN(len(c.nodes) + 1); which < len(c.nodes) {
		return c.nodes[which : which+1], c.nodes[which].name
	}
	return c.nodes, "every node"
}

func cutLink(c *chaos, r *rand.Rand) hit {
	links, names := c.links(r)
	return func() {
		c.note("%s loses its connections to PostgreSQL", names)
		c.count("fault: connections cut")
		for _, n := range links {
			n.link.cut(func() {})
		}
	}
}

func refuseLink(c *chaos, r *rand.Rand) hit {
	links, names := c.links(r)
	return c.forAWhile(r, "connections refused", names+" cannot connect to PostgreSQL", 4*time.Second, func() (undo func()) {
		for _, n := range links {
			n.link.cut(func() { n.refusing = true })
		}
		return func() {
			for _, n := range links {
				n.accept()
			}
		}
	})
}

func stallLink(c *chaos, r *rand.Rand) hit {
	links, names := c.links(r)
	return c.forAWhile(r, "connections stalled", names+" hears nothing of PostgreSQL", 4*time.Second, func() (undo func()) {
		for _, n := range links {
			n.link.silence()
		}
		return func() {
			for _, n := range links {
				n.link.speak()
			}
		}
	})
}

// loseLink is a network that is away for longer than PostgreSQL waits. What was under way
// arrives late, or never.
func loseLink(c *chaos, r *rand.Rand) hit {
	n, down, never := c.nodes[r.IntN(len(c.nodes))], between(r, 11*time.Second, 16*time.Second), r.IntN(2) == 0
	return func() {
		c.note("%s is without a network for %v", n.name, down.Round(time.Millisecond))
		c.count("fault: network lost")
		n.link.silence()
		time.Sleep(down)
		if never {
			n.link.cut(func() {}) // what was on its way never arrives
		}
		n.link.speak()
		c.note("%s has its network back", n.name)
	}
}

// freezeNode is a process that gets no time for longer than its lease lasts, and then goes
// on as if nothing had been.
func freezeNode(c *chaos, r *rand.Rand) hit {
	n, length := c.nodes[r.IntN(len(c.nodes))], between(r, 11*time.Second, 16*time.Second)
	return func() {
		life := n.awaitReady(time.Now().Add(patience))
		if life == nil || life.cmd.Process.Signal(syscall.SIGSTOP) != nil {
			return
		}
		c.note("%s is frozen for %v", n.name, length.Round(time.Millisecond))
		c.count("fault: node frozen")
		time.Sleep(length)
		_ = life.cmd.Process.Signal(syscall.SIGCONT) // an error means that it was killed
		c.note("%s goes on", n.name)
	}
}

// spoilBucket makes a bucket misbehave for a while.
func spoilBucket(c *chaos, r *rand.Rand) hit {
	bucket := []string{"first", "second"}[r.IntN(2)]
	over := make(chan struct{})
	kinds := []struct {
		name  string
		fault s3test.Fault
	}{
		{"slow", s3test.SlowReading(100 * time.Millisecond)}, {"busy", s3test.SlowDown()}, {"broken", s3test.InternalError()},
		{"hanging", s3test.HangUntil(over)}, {"resetting", s3test.Reset()}, {"closing", s3test.Close()}, {"corrupting", s3test.Corrupt()},
	}
	kind := kinds[r.IntN(len(kinds))]
	return c.forAWhile(r, "bucket "+kind.name, "the "+bucket+" bucket is "+kind.name, 4*time.Second, func() (undo func()) {
		c.modes[bucket].set(kind.fault)
		return func() {
			c.modes[bucket].set(nil)
			close(over)
		}
	})
}

// spoilHook makes the receiver of webhooks answer with errors for a while.
func spoilHook(c *chaos, r *rand.Rand) hit {
	return c.forAWhile(r, "webhooks refused", "webhooks are refused", 3*time.Second, func() (undo func()) {
		c.hook.failing.Store(true)
		return func() { c.hook.failing.Store(false) }
	})
}

// fillDisk leaves no room for documents for a while.
func fillDisk(c *chaos, r *rand.Rand) hit {
	return c.forAWhile(r, "disk full", "the disk of the documents is full", 4*time.Second, func() (undo func()) {
		c.disk.fill()
		return c.disk.free
	})
}

// forAWhile does something that is undone after half a second or more.
func (c *chaos) forAWhile(r *rand.Rand, kind, what string, most time.Duration, do func() (undo func())) hit {
	length := between(r, 500*time.Millisecond, most)
	return func() {
		c.note("%s for %v", what, length.Round(time.Millisecond))
		c.count("fault: " + kind)
		undo := do()
		time.Sleep(length)
		undo()
		c.note("no longer: %s", what)
	}
}

// disk is a small one for the documents.
type disk struct {
	c       *chaos
	dir     string
	mounted bool
	mu      sync.Mutex
}

const diskSize = 256 << 20

// openDisk mounts a small disk, if this process may.
func (c *chaos) openDisk() *disk {
	c.t.Helper()
	d := &disk{c: c, dir: filepath.Join(c.dir, "disk")}
	if err := os.Mkdir(d.dir, 0o711); err != nil {
		c.t.Fatal(err)
	}
	err := syscall.Mount("platen-chaos", d.dir, "tmpfs", syscall.MS_NOSUID|syscall.MS_NODEV|syscall.MS_NOEXEC, fmt.Sprint("mode=0711,size=", diskSize))
	switch {
	case err == nil:
		d.mounted = true
		c.t.Cleanup(func() {
			if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
				c.t.Errorf("%s stays mounted: %v", d.dir, err)
			}
		})
	case os.Geteuid() != 0:
		c.t.Logf("no disk of its own can be mounted (%v): instead of being full, the folder of the documents takes no new ones", err)
	default:
		c.t.Logf("no disk of its own can be mounted (%v): the disk is never full", err)
	}
	if err := os.Mkdir(d.documents(), 0o700); err != nil {
		c.t.Fatal(err)
	}
	return d
}

func (d *disk) documents() string { return filepath.Join(d.dir, "documents") }

func (d *disk) filler() string { return filepath.Join(d.dir, "filler") }

func (d *disk) fill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.mounted {
		_ = os.Chmod(d.documents(), 0o500) // says nothing to root
		return
	}
	file, err := os.Create(d.filler())
	if err != nil {
		d.c.note("the disk is full already: %v", err)
		return
	}
	defer file.Close()
	var free syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &free); err == nil {
		_ = syscall.Fallocate(int(file.Fd()), 0, 0, int64(free.Bavail)*free.Bsize) // what it does not get, the loop does
	}
	if _, err := file.Seek(0, 2); err != nil {
		d.c.problem("the disk is not filled: %v", err)
	}
	for page := make([]byte, 4096); ; {
		if _, err := file.Write(page); err != nil {
			return
		}
	}
}

func (d *disk) free() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.mounted {
		_ = os.Remove(d.filler()) // not there: it is free already
	} else {
		_ = os.Chmod(d.documents(), 0o700)
	}
}
