package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"platen/delivery/s3test"
	"platen/storage"
)

// slowAsset is a picture that keeps a page waiting until it is opened. It tells when it is
// asked for, and when somebody gives up waiting for it.
type slowAsset struct {
	*gate
	asked, left chan struct{}
}

func newSlowAsset(t *testing.T) *slowAsset {
	t.Helper()
	s := &slowAsset{asked: make(chan struct{}, 100), left: make(chan struct{}, 100)}
	s.gate = &gate{opened: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.asked <- struct{}{}
		select {
		case <-s.opened:
			_, _ = w.Write(logo())
		case <-r.Context().Done():
			s.left <- struct{}{}
		}
	}))
	listen(t, s.Server, assets)
	t.Cleanup(func() { s.open(); s.Close() })
	return s
}

// await waits for something to happen.
func await(t *testing.T, happened <-chan struct{}, failure string) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(patience):
		t.Fatal(failure)
	}
}

// begun is a document that waits for the picture, whose render has begun.
func (s *slowAsset) begun(c *client) document {
	c.t.Helper()
	doc := c.submit(vars{"html": `<img src="` + s.URL + `/x.png">`, "wait": 0, "page": vars{"timeout": 60}})
	await(c.t, s.asked, "nobody renders")
	return doc
}

// cluster is what nodes of one installation have in common.
func cluster(t *testing.T, token string) []string {
	t.Helper()
	return []string{testKey, "DATABASE_URL=" + dsnIn(filepath.Join(shared.config.dataDir, "postgres"), newDatabase(t)),
		"PLATEN_BLOB_URL=file://" + emptyFolder(t), "PLATEN_BOOTSTRAP_LIVE_TOKEN=" + token, "PLATEN_RENDER_ALLOW=" + assets}
}

// distant is the same cluster for a node whose database is at the other end of a link.
// refusing, if it is not nil, tells whether the database's machine refuses connections.
func distant(t *testing.T, environ []string, refusing *bool) (*link, []string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := newLink(t, listener, func() (net.Conn, error) {
		if refusing != nil && *refusing {
			return nil, syscall.ECONNREFUSED
		}
		return net.Dial("unix", filepath.Join(shared.config.dataDir, "postgres", ".s.PGSQL.5432"))
	})
	_, database, _ := strings.Cut(environ[1], " dbname=")
	database, _, _ = strings.Cut(database, " ")
	address := url.URL{Scheme: "postgres", User: url.User("platen"), Host: listener.Addr().String(), Path: "/" + database, RawQuery: "sslmode=disable"}
	return l, append(environ[:len(environ):len(environ)], "DATABASE_URL="+address.String())
}

// attempts is how often the job of a document was begun and not given back.
func attempts(t *testing.T, p *program, documentID string) (n int) {
	t.Helper()
	if err := p.db.SQL().QueryRowContext(t.Context(), `select attempt from river.river_job where kind = 'render_submission' and args->>'submission_id' = $1`, documentID).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// startsAgain waits until the picture is asked for again, and says how long that took.
func (s *slowAsset) startsAgain(t *testing.T, since time.Time, within time.Duration) {
	t.Helper()
	await(t, s.asked, "the job does not start again")
	took := time.Since(since)
	t.Logf("started again after %v", took)
	if took > within {
		t.Errorf("the job started again after %v, want %v at most", took, within)
	}
}

func TestR9_2TheJobsOfAKilledNodeStartOnAnotherWithin5Seconds(t *testing.T) {
	t.Parallel()
	environ := cluster(t, "live-token-of-the-killed-node")
	picture := newSlowAsset(t)
	dying := serveProcess(t, emptyFolder(t), environ...)
	ready(t, dying)
	c := &client{t: t, base: dying.base, live: "live-token-of-the-killed-node"}
	doc := picture.begun(c)
	other := startProgram(t, emptyFolder(t), environ...)
	c.base = other.baseURL
	killed := time.Now()
	dying.stop(syscall.SIGKILL)
	picture.startsAgain(t, killed, 5*time.Second)
	picture.open()
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
}

func TestR9_2ANodeWithoutPowerStopsFirstAndItsJobsStartOnAnotherWithin15Seconds(t *testing.T) {
	t.Parallel()
	environ := cluster(t, "live-token-of-the-node-without-power")
	picture := newSlowAsset(t)
	toDatabase, far := distant(t, environ, nil)
	lost := startProgram(t, emptyFolder(t), far...)
	c := &client{t: t, base: lost.baseURL, live: "live-token-of-the-node-without-power"}
	doc := picture.begun(c)
	other := startProgram(t, emptyFolder(t), environ...)
	c.base = other.baseURL
	cut := time.Now()
	toDatabase.silence()
	// Without the database it cannot know whether it is the one that is lost.
	await(t, picture.left, "the lost node goes on")
	if took := time.Since(cut); took > 7*time.Second {
		t.Errorf("the lost node stopped after %v", took)
	}
	select {
	case <-picture.asked:
		t.Error("the job started again before the lost node had stopped")
	default:
	}
	picture.startsAgain(t, cut, 15*time.Second)
	// What the lost node still says about the job comes too late to end or to interrupt it.
	toDatabase.speak()
	becomes(t, lost, http.StatusOK, 10*time.Second)
	select {
	case <-picture.left:
		t.Error("the job was interrupted by the node that lost it")
	default:
	}
	if n := attempts(t, other, doc.ID); n != 2 {
		t.Errorf("attempt %d counts, want the second", n)
	}
	picture.open()
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
}

func TestR9_2ANodeThatLosesItsLeaseInterruptsItsWorkAndBeginsAgain(t *testing.T) {
	t.Parallel()
	environ := cluster(t, "live-token-of-the-lost-lease")
	picture := newSlowAsset(t)
	p := startProgram(t, emptyFolder(t), environ...)
	c := &client{t: t, base: p.baseURL, live: "live-token-of-the-lost-lease"}
	doc := picture.begun(c)
	endLease(t, p)
	await(t, picture.left, "the node goes on without its lease")
	await(t, picture.asked, "the node does not begin again")
	picture.open()
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
	if n := attempts(t, p, doc.ID); n != 1 {
		t.Errorf("%d attempts were spent, want none but the last", n)
	}
}

// startStopping runs a program that the test stops. What runs may finish for drain.
func startStopping(t *testing.T, drain time.Duration, environ ...string) (p *program, stop func(), stopped <-chan error) {
	t.Helper()
	config, err := load(append(environ, "PLATEN_DATA_DIR="+emptyFolder(t), "PLATEN_LISTEN=127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	config.drainTime = drain
	if p, err = open(t.Context(), config, shared.log); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() { ended <- p.run(ctx) })
	t.Cleanup(func() {
		stop()
		running.Wait()
		p.close()
	})
	return p, stop, ended
}

func TestR9_2ANodeThatStopsKeepsItsJobsForAsLongAsItFinishesThem(t *testing.T) {
	t.Parallel()
	const token = "live-token-of-the-finishing-node"
	environ := cluster(t, token)
	picture := newSlowAsset(t)
	stopping, stop, stopped := startStopping(t, patience, environ...)
	c := &client{t: t, base: stopping.baseURL, live: token}
	doc := picture.begun(c)
	other := startProgram(t, emptyFolder(t), environ...)
	c.base = other.baseURL
	stop()
	select {
	case <-picture.asked:
		t.Error("another node took the job from one that finishes it")
	case <-time.After(storage.LeaseTime + 4*time.Second): // long enough to lose a lease, and to be found without
	}
	picture.open()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
	if n := attempts(t, other, doc.ID); n != 1 {
		t.Errorf("%d attempts were spent, want none but the last", n)
	}
}

func TestR9_2ANodeThatLosesItsLeaseWhileItStopsGivesUpAtOnce(t *testing.T) {
	t.Parallel()
	const token = "live-token-of-the-lease-lost-while-stopping"
	environ := cluster(t, token)
	picture := newSlowAsset(t)
	stopping, stop, stopped := startStopping(t, patience, environ...)
	c := &client{t: t, base: stopping.baseURL, live: token}
	doc := picture.begun(c)
	stop()
	endLease(t, stopping)
	await(t, picture.left, "the node goes on without its lease")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	picture.open()
	c.base = startProgram(t, emptyFolder(t), environ...).baseURL
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
}

// endLease ends the session by which a node holds its lease.
func endLease(t *testing.T, p *program) {
	t.Helper()
	var ended bool
	if err := p.db.SQL().QueryRowContext(t.Context(), `select pg_terminate_backend(pid) from pg_locks
		where locktype = 'advisory' and classid = 7001 and objsubid = 2 and database = (select oid from pg_database where datname = current_database())`).Scan(&ended); err != nil || !ended {
		t.Fatalf("%v, %v", ended, err)
	}
}

func TestR9_2ANodeThatStopsGivesBackWhatItCannotFinish(t *testing.T) {
	t.Parallel()
	environ := cluster(t, "live-token-of-the-stopping-node")
	picture := newSlowAsset(t)
	stopping, stop, stopped := startStopping(t, time.Second, environ...)
	c := &client{t: t, base: stopping.baseURL, live: "live-token-of-the-stopping-node"}
	doc := picture.begun(c)
	other := startProgram(t, emptyFolder(t), environ...)
	c.base = other.baseURL
	stop()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	await(t, picture.left, "the stopped node goes on")
	await(t, picture.asked, "the job does not start again")
	picture.open()
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
	if n := attempts(t, other, doc.ID); n != 1 {
		t.Errorf("%d attempts were spent, want none but the last", n)
	}
}

// becomes waits until /readyz answers with a status, and fails if that takes too long.
func becomes(t *testing.T, p *program, status int, within time.Duration) {
	t.Helper()
	start := time.Now()
	for {
		response, err := http.Get(p.baseURL + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		took := time.Since(start)
		switch {
		case response.StatusCode == status && took <= within:
			t.Logf("/readyz answered %d after %v", status, took)
			return
		case response.StatusCode == status || took > patience:
			t.Fatalf("/readyz answered %d after %v, want %d within %v", response.StatusCode, took, status, within)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func TestR9_2WithoutItsDatabaseANodeRefusesAtOnceAndGoesOnWhenItIsBack(t *testing.T) {
	t.Parallel()
	for name, faults := range map[string]struct{ away, back func(*link, *bool) }{
		"it refuses connections": {
			func(l *link, refusing *bool) { l.cut(func() { *refusing = true }) },
			func(l *link, refusing *bool) { l.cut(func() { *refusing = false }) }},
		"it is silent": {
			func(l *link, _ *bool) { l.silence() },
			func(l *link, _ *bool) { l.speak() }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environ := cluster(t, "live-token-of-the-database-away")
			picture := newSlowAsset(t)
			refusing := false
			toDatabase, far := distant(t, environ, &refusing)
			p := startProgram(t, emptyFolder(t), far...)
			c := &client{t: t, base: p.baseURL, live: "live-token-of-the-database-away"}
			doc := picture.begun(c)
			becomes(t, p, http.StatusOK, patience)

			away := time.Now()
			faults.away(toDatabase, &refusing)
			// One that was on its way when it happened is answered as well.
			if a := c.ask(c.live, `{ account { name } }`, nil); a.Status != http.StatusServiceUnavailable || a.code() != "UNAVAILABLE" {
				t.Errorf("answers %d %v", a.Status, a.Errors)
			}
			becomes(t, p, http.StatusServiceUnavailable, 5*time.Second-time.Since(away))
			start := time.Now()
			if a := c.ask(c.live, `mutation { createSubmission(input: {html: "<p>"}) { submission { id } } }`, nil); a.Status != http.StatusServiceUnavailable || a.code() != "UNAVAILABLE" {
				t.Errorf("answers %d %v", a.Status, a.Errors)
			}
			if took := time.Since(start); took > time.Second {
				t.Errorf("it takes %v to say that the database is away", took)
			}

			faults.back(toDatabase, &refusing)
			becomes(t, p, http.StatusOK, 5*time.Second)
			picture.open()
			if after := c.final(doc.ID); after.State != "PROCESSED" {
				t.Errorf("%v", after)
			}
			if next := c.submit(vars{"html": "<p>next</p>"}); next.State != "PROCESSED" {
				t.Errorf("%v", next)
			}
		})
	}
}

func TestR9_2APrivatePostgreSQLThatDiedIsStartedAgain(t *testing.T) {
	t.Parallel()
	const token = "live-token-of-the-dead-database"
	picture := newSlowAsset(t)
	p := startProgram(t, emptyFolder(t), "PLATEN_BOOTSTRAP_LIVE_TOKEN="+token, "PLATEN_RENDER_ALLOW="+assets)
	c := &client{t: t, base: p.baseURL, live: token}
	kept := c.submit(vars{"html": "<p>kept</p>"})
	doc := picture.begun(c)
	for range 2 {
		first := p.postgres.Load()
		if err := syscall.Kill(first.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await(t, picture.left, "the node goes on without its lease")
		await(t, picture.asked, "the node does not begin again")
		if p.postgres.Load() == first {
			t.Error("it is the same server")
		}
		becomes(t, p, http.StatusOK, patience)
	}
	picture.open()
	if after := c.final(doc.ID); after.State != "PROCESSED" {
		t.Errorf("%v", after)
	}
	if after := c.submission(kept.ID); after.File == nil || after.File.SHA256 != kept.File.SHA256 {
		t.Errorf("%v", after)
	}
}

// router is a load balancer as people have them: it sends each request to one of the
// nodes that say that they are ready, and asks them ten times a second.
type router struct {
	*httptest.Server
	mu    sync.Mutex
	nodes []string // their addresses; "" for one that is away
	ready map[string]bool
	next  int
	lost  []string // requests that came to no answer
}

func newRouter(t *testing.T, nodes int) *router {
	t.Helper()
	b := &router{nodes: make([]string, nodes), ready: map[string]bool{}}
	b.Server = httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			to, err := url.Parse(b.choose())
			if err != nil {
				t.Error(err)
			}
			r.SetURL(to)
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.lost = append(b.lost, r.URL.String()+": "+err.Error())
			w.WriteHeader(http.StatusBadGateway)
		}})
	t.Cleanup(b.Close)
	var asking sync.WaitGroup
	t.Cleanup(asking.Wait)
	for i := range nodes { // one that is slow to answer keeps none of the others
		asking.Go(func() {
			for t.Context().Err() == nil {
				b.look(i)
				time.Sleep(100 * time.Millisecond)
			}
		})
	}
	return b
}

// choose takes turns among those that are ready.
func (b *router) choose() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for range b.nodes {
		b.next = (b.next + 1) % len(b.nodes)
		if node := b.nodes[b.next]; b.ready[node] {
			return node
		}
	}
	return ""
}

func (b *router) look(i int) {
	b.mu.Lock()
	node := b.nodes[i]
	b.mu.Unlock()
	response, err := http.Get(node + "/readyz")
	if err == nil {
		response.Body.Close()
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ready[node] = err == nil && response.StatusCode == http.StatusOK
}

// set gives a node a new address, and waits until it gets requests.
func (b *router) set(i int, node string) {
	b.mu.Lock()
	b.nodes[i] = node
	b.mu.Unlock()
	b.look(i)
}

// A load balancer that has not asked again yet sends requests on the connections that it
// keeps: a node that closes those when it is told to stop loses them.
func TestR9_2ANodeThatIsToldToStopAnswersOnConnectionsThatAreKept(t *testing.T) {
	t.Parallel()
	p := serveProcess(t, emptyFolder(t), append(cluster(t, "live-token-of-the-kept-connection"), "PLATEN_SHUTDOWN_DELAY=20s")...)
	ready(t, p)
	conn, err := net.Dial("tcp", strings.TrimPrefix(p.base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := bufio.NewReader(conn)
	ask := func(path string) *http.Response {
		t.Helper()
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
		response, err := http.ReadResponse(answers, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		return response
	}
	if first := ask("/healthz"); first.StatusCode != http.StatusOK || first.Close {
		t.Fatalf("%d, closed: %v", first.StatusCode, first.Close)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		response, err := http.Get(p.base + "/readyz")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == http.StatusServiceUnavailable {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("it stays ready")
		}
	}
	if last := ask("/schema.graphql"); last.StatusCode != http.StatusOK || !last.Close {
		t.Errorf("%d, closed: %v", last.StatusCode, last.Close)
	}
}

func TestR9_2RollingRestartsUnderLoadFailNoRequest(t *testing.T) {
	t.Parallel()
	restarts := 4
	if os.Getenv("TEST_LONG") != "" {
		restarts = 20
	}
	const token = "live-token-of-the-rolling-restarts"
	environ := append(cluster(t, token), "PLATEN_SHUTDOWN_DELAY=1s")
	nodes := []*process{serveProcess(t, emptyFolder(t), environ...), serveProcess(t, emptyFolder(t), environ...)}
	front := newRouter(t, len(nodes))
	for i, node := range nodes {
		ready(t, node)
		front.set(i, node.base)
	}
	ctx, stop := context.WithCancel(t.Context())
	var load sync.WaitGroup
	accepted := make(chan string, 100_000)
	c := &client{t: t, base: front.URL, live: token}
	for range 3 {
		load.Go(func() {
			for ctx.Err() == nil {
				answer, err := c.post(`{"query":"mutation { createSubmission(input: {html: \"<p>On we go</p>\", wait: 5}) { submission { id } userErrors { message } } }"}`)
				id := regexp.MustCompile(`sub_\w+`).FindString(answer)
				if err != nil || id == "" {
					t.Errorf("a request was answered with %q %v", answer, err)
					return
				}
				accepted <- id
			}
		})
	}
	for n := range restarts {
		i := n % len(nodes)
		nodes[i].stop(syscall.SIGTERM)
		if nodes[i].exitErr != nil {
			t.Errorf("restart %d: it ended with %v\n%s", n, nodes[i].exitErr, nodes[i].log)
		}
		nodes[i] = serveProcess(t, emptyFolder(t), environ...)
		ready(t, nodes[i])
		front.set(i, nodes[i].base)
	}
	stop()
	load.Wait()
	close(accepted)
	if len(front.lost) > 0 {
		t.Errorf("%d requests were lost, such as %v", len(front.lost), front.lost[0])
	}
	c.base = nodes[0].base
	count := 0
	for id := range accepted {
		count++
		if after := c.final(id); after.State != "PROCESSED" {
			t.Errorf("%v", after)
		}
	}
	t.Logf("%d restarts, %d documents", restarts, count)
	if count < 10*restarts {
		t.Errorf("only %d documents: there was no load", count)
	}
}

func TestR9_2ADocumentThatCannotBeStoredWaitsUntilItCan(t *testing.T) {
	t.Parallel()
	const token = "live-token-of-the-full-store"
	store, now := s3test.New(t).Own(), &mode{}
	store.CreateBucket("own-copies", "eu-west-3")
	store.AddKey("AKOWN", "secret-of-AKOWN", s3test.FullAccess("own-copies"))
	store.Fault("own-copies", slices.Repeat([]s3test.Fault{now.fault}, 10_000)...)
	environ := append(cluster(t, token), "PLATEN_BLOB_URL=s3://own-copies?region=eu-west-3&path_style=true&endpoint="+store.URL,
		"AWS_ACCESS_KEY_ID=AKOWN", "AWS_SECRET_ACCESS_KEY=secret-of-AKOWN")
	p := startProgram(t, emptyFolder(t), environ...)
	c := &client{t: t, base: p.baseURL, live: token}
	now.set(s3test.Error(http.StatusForbidden, "QuotaExceeded", "It is full."))
	first := c.submit(vars{"html": "<p>first</p>", "wait": 0})
	store.WaitForRequest(t, func(r s3test.Request) bool { return strings.Contains(r.Path, first.ID) })
	becomes(t, p, http.StatusServiceUnavailable, patience)
	second := c.submit(vars{"html": "<p>second</p>", "wait": 1})
	tried := func() (n int) {
		for _, r := range store.Requests() {
			if r.Method == http.MethodPut && strings.Contains(r.Path, first.ID) {
				n++
			}
		}
		return n
	}
	for deadline := time.Now().Add(patience); tried() < 2; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is not tried again")
		}
	}
	if waiting := c.submission(first.ID); waiting.State != "PENDING" || second.State != "PENDING" {
		t.Errorf("while the store is full: %v %v", waiting, second)
	}
	now.set(nil)
	for _, id := range []string{first.ID, second.ID} {
		doc := c.final(id)
		if doc.State != "PROCESSED" {
			t.Fatalf("%v", doc)
		}
		if n := attempts(t, p, id); n != 1 {
			t.Errorf("%d attempts were spent, want none but the last", n)
		}
		if response, _ := c.download(doc.DownloadURL); response.StatusCode != http.StatusOK {
			t.Errorf("the download answers %d", response.StatusCode)
		}
	}
}

func TestR9_2ANodeThatStartsBeforeItsDatabaseWaitsForIt(t *testing.T) {
	t.Parallel()
	refusing := true
	toDatabase, far := distant(t, cluster(t, "live-token-of-the-early-node"), &refusing)
	time.AfterFunc(time.Second, func() { toDatabase.cut(func() { refusing = false }) })
	p := startProgram(t, emptyFolder(t), far...)
	c := &client{t: t, base: p.baseURL, live: "live-token-of-the-early-node"}
	if doc := c.submit(vars{"html": "<p>early</p>"}); doc.State != "PROCESSED" {
		t.Errorf("%v", doc)
	}
}
