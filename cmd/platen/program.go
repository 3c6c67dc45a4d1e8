package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	root "platen"
	"platen/delivery"
	"platen/egress"
	"platen/embedpg"
	"platen/feed"
	"platen/jsonschema"
	"platen/keyring"
	"platen/liquid"
	"platen/pdf"
	"platen/pipeline"
	"platen/renderer"
	"platen/resolvers"
	"platen/server"
	"platen/storage"
	"platen/storage/blob"
	"platen/web"
)

const (
	// drainTime is how long running work may take to finish when the node stops.
	drainTime = 30 * time.Second
	// postgresStarts is how often in a row a private PostgreSQL that ended is started in vain
	// before the program gives up, and postgresPause the pause before each, times its number.
	postgresStarts = 5
	postgresPause  = 2 * time.Second
	// poolSize bounds the connections to the database, of which a private PostgreSQL
	// allows 100; listening takes a few more.
	poolSize = 40
	// deliveries is how many uploads and webhooks run at a time: they wait for networks,
	// not for cores. One integration takes a part of them only: see pipeline/lane.go.
	deliveries = 64
)

// program is Platen as a value: open it, run it, close it. Tests run the real one.
type program struct {
	config   config
	operator bool // a command for operators, which serves nothing
	log      *slog.Logger
	baseURL  string

	closers []func() // in the order of opening; closing is the reverse

	postgres atomic.Pointer[embedpg.Server] // nil without a private one
	db       *storage.DB
	keys     *keyring.Keyring
	listener net.Listener
	server   *server.Server
	pipeline *pipeline.Pipeline
	hub      *feed.Hub

	// welcome is what the first start says, once.
	welcome string
	// signIn is how each start says that people sign in to the page; "": it does not.
	signIn string
}

// open starts what the program is made of, in order. When it fails, what was
// started is stopped again.
func open(ctx context.Context, c config, log *slog.Logger) (p *program, err error) {
	p = &program{config: c, log: log}
	defer func() {
		if err != nil {
			p.close()
			p = nil
		}
	}()
	if err := p.openStore(ctx); err != nil {
		return p, err
	}
	// The address is taken before the rest starts: a port in use is the likeliest
	// reason why a start fails.
	if p.listener, err = net.Listen("tcp", c.listen); err != nil {
		return p, fmt.Errorf("PLATEN_LISTEN: %w", err)
	}
	p.onClose(func() { p.listener.Close() })
	p.baseURL = c.baseURL
	if p.baseURL == "" {
		p.baseURL = "http://" + reachable(p.listener.Addr().(*net.TCPAddr))
	}
	if err := p.openParts(ctx); err != nil {
		return p, err
	}
	// Last, so that a start that fails does not use up the one showing of the tokens.
	if err := p.welcomeFirst(ctx); err != nil {
		return p, err
	}
	p.offerStart(ctx)
	return p, nil
}

// openStore opens what keeps things: data folder, database and keys. The commands
// for operators need no more.
func (p *program) openStore(ctx context.Context) (err error) {
	c := p.config
	if err := p.openDatabase(ctx); err != nil {
		return err
	}
	if err := p.db.Migrate(ctx); err != nil {
		return err
	}
	if p.keys = c.keys; p.keys == nil {
		dir := filepath.Join(c.dataDir, "keys")
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if p.keys, err = keyring.LoadOrCreate(filepath.Join(dir, "secret.key")); err != nil {
			return err
		}
	}
	return p.checkKeys(ctx)
}

// openDatabase opens the database as it is.
func (p *program) openDatabase(ctx context.Context) (err error) {
	c := p.config
	// 0711: PostgreSQL, as a user of its own, has to reach its folder in it.
	if err := os.MkdirAll(c.dataDir, 0o711); err != nil {
		return fmt.Errorf("PLATEN_DATA_DIR: %w", err)
	}
	dsn := c.databaseURL.Reveal()
	if dsn == "" {
		if dsn, err = p.openPostgres(ctx); err != nil {
			return fmt.Errorf("the private PostgreSQL: %w", err)
		}
	}
	if p.db, err = storage.Open(ctx, dsn, poolSize); err != nil {
		if c.databaseURL.Reveal() != "" {
			err = fmt.Errorf("DATABASE_URL: %w", err)
		}
		return err
	}
	p.onClose(func() { p.db.Close() })
	return nil
}

// openPostgres starts the private PostgreSQL. A command for operators uses the one
// that a running server has started.
func (p *program) openPostgres(ctx context.Context) (dsn string, err error) {
	dir := filepath.Join(p.config.dataDir, "postgres")
	server, err := embedpg.Start(ctx, embedpg.Options{Dir: dir, Log: p.log, Settings: p.config.postgres})
	if errors.Is(err, embedpg.ErrInUse) && p.operator {
		return embedpg.RunningDSN(dir, "postgres")
	}
	if err != nil {
		return "", err
	}
	p.postgres.Store(server)
	p.onClose(func() {
		if err := p.postgres.Load().Stop(); err != nil {
			p.log.Error("stopping the private PostgreSQL", "error", err)
		}
	})
	return server.DSN("postgres"), nil
}

// keepPostgres starts the private PostgreSQL again whenever it ends, until ctx does. Its
// error is that of the last start, after several in a row that failed.
func (p *program) keepPostgres(ctx context.Context) error {
	server := p.postgres.Load()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-server.Done():
		}
		p.log.ErrorContext(ctx, "the private PostgreSQL ended and is started again", "error", server.Err())
		for failed := 0; ; {
			next, err := embedpg.Start(ctx, embedpg.Options{Dir: filepath.Join(p.config.dataDir, "postgres"), Log: p.log, Settings: p.config.postgres})
			if err == nil {
				p.postgres.Store(next)
				server = next
				break
			}
			if ctx.Err() != nil {
				return nil
			}
			if failed++; failed == postgresStarts {
				return fmt.Errorf("the private PostgreSQL ended, and does not start again: %w", err)
			}
			p.log.ErrorContext(ctx, "the private PostgreSQL does not start again yet", "error", err)
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(time.Duration(failed) * postgresPause):
			}
		}
	}
}

// checkKeys makes sure that these are the keys that the database's secrets were
// encrypted with: a wrong one is better found now than at the first delivery.
func (p *program) checkKeys(ctx context.Context) error {
	return p.db.InTx(ctx, func(tx *storage.Tx) error {
		check, err := tx.KeyCheck(ctx)
		if err != nil {
			return err
		}
		if check == nil {
			if check, err = p.keys.Encrypt([]byte(keyProof), keyContext); err != nil {
				return err
			}
			return tx.SetKeyCheck(ctx, check)
		}
		if !proves(check, p.keys) {
			if p.config.keys == nil {
				return fmt.Errorf("%s is not the key that this database's secrets were encrypted with: put the old file back", filepath.Join(p.config.dataDir, "keys", "secret.key"))
			}
			return errors.New("PLATEN_SECRET_KEY is not the key that this database's secrets were encrypted with: give that one, or several with it among them")
		}
		return nil
	})
}

// keyProof is what the check value encrypts, and keyContext where it stands.
const keyProof, keyContext = "platen", "installation"

// proves tells whether these are the keys that a check value was made with.
func proves(check []byte, keys *keyring.Keyring) bool {
	plain, err := keys.Decrypt(check, keyContext)
	return err == nil && string(plain) == keyProof
}

// openParts opens what does the work.
func (p *program) openParts(ctx context.Context) (err error) {
	c, log := p.config, p.log
	blobs, err := p.openBlobs()
	if err != nil {
		return err
	}
	if err := blob.Probe(ctx, blobs); err != nil {
		return fmt.Errorf("PLATEN_BLOB_URL: the store of Platen's own copies does not work: %w", err)
	}
	cores := runtime.NumCPU()
	engine, err := liquid.New(liquid.Options{Workers: max(2, cores), UID: unprivileged("platen-sandbox", 1), Log: log})
	if err != nil {
		return err
	}
	p.onClose(func() { engine.Close() })
	schemas, err := jsonschema.New(jsonschema.Options{Workers: max(2, cores), UID: unprivileged("platen-sandbox", 1), Log: log})
	if err != nil {
		return err
	}
	p.onClose(func() { schemas.Close() })
	tool, err := pdf.New(pdf.Options{Workers: max(2, cores), UID: unprivileged("platen-sandbox", 1), Log: log})
	if err != nil {
		return err
	}
	p.onClose(func() { tool.Close() })
	if p.hub, err = feed.New(ctx, p.db, log); err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	o := pipeline.Options{DB: p.db, Blobs: blobs, Hub: p.hub, Keyring: p.keys, Liquid: engine, Keys: delivery.NewKeys(engine), Schemas: schemas,
		PDF: tool, Log: log, Metrics: registry, BaseURL: p.baseURL, Workers: c.worker, Alone: p.postgres.Load() != nil, RetryBase: c.retryBase, ExpireEvery: c.expireEvery, MergeTime: c.mergeTime, QueueLimit: c.queueLimit}
	// Nodes without workers deliver as well: they test integrations.
	ways := delivery.Options{Guard: egress.New(egress.Options{Allow: c.egressAllow, Setting: "PLATEN_EGRESS_ALLOW"})}
	o.S3, o.Presigned, o.Webhooks, o.Fetcher = delivery.NewS3(ways), delivery.NewPresigned(ways), delivery.NewWebhooks(ways), delivery.NewFetcher(ways)
	p.onClose(func() { o.S3.Close(); o.Presigned.Close(); o.Webhooks.Close(); o.Fetcher.Close() })
	checks := map[string]func(context.Context) error{"database": p.db.Ping, "documents": blobs.Check}
	if c.worker {
		// A merge can have a gigabyte in memory; and renders need the PDF workers as well.
		o.Renders, o.Merges, o.Deliveries = 2*cores, max(1, cores/2), deliveries
		if o.Renderer, err = p.openRenderer(o.Renders); err != nil {
			return err
		}
		checks["browser"] = o.Renderer.Healthy
	}
	if p.pipeline, err = pipeline.New(o); err != nil {
		return err
	}
	page, err := web.New(web.Options{})
	if err != nil {
		return err
	}
	p.server = server.New(server.Options{Page: page, Keys: p.keys, BaseURL: p.baseURL, DB: p.db, Pipeline: p.pipeline, SDL: root.SDL, Log: log, Checks: checks,
		Resolvers: &resolvers.Root{DB: p.db, Hub: p.hub, Pipeline: p.pipeline, Log: log},
		Metrics:   registry, RateLimit: c.rateLimit})
	return nil
}

func (p *program) openBlobs() (blob.Store, error) {
	if p.config.blobS3 != nil {
		return blob.OpenS3(*p.config.blobS3), nil
	}
	folder, err := blob.OpenFolder(p.config.blobFolder)
	if err == nil {
		p.onClose(func() { folder.Close() })
	}
	return folder, err
}

// openRenderer starts the browser behind a proxy of its own: there is no other way
// out for a page. Pages reach web servers only.
func (p *program) openRenderer(concurrency int) (*renderer.Renderer, error) {
	guard := egress.New(egress.Options{Allow: p.config.renderAllow, Ports: []uint16{80, 443}, Setting: "PLATEN_RENDER_ALLOW"})
	proxy, err := egress.NewProxy(guard, p.log)
	if err != nil {
		return nil, err
	}
	p.onClose(func() { proxy.Close() })
	executable, err := renderer.Find()
	if err != nil {
		return nil, err
	}
	r, err := renderer.New(renderer.Options{Executable: executable, Proxy: proxy, UID: unprivileged("platen-renderer", 2), Concurrency: concurrency, MakeAhead: true, Log: p.log})
	if err == nil {
		p.onClose(func() { r.Close() })
	}
	return r, err
}

// unprivileged is the user for child processes that run what strangers wrote. It
// owns nothing; each kind has one of its own, so that none can touch the other.
// Without a user of that name it is a number in a range from which no tool takes
// users for people or services by itself (60000-64999, see "UID and GID classes" in
// https://www.debian.org/doc/debian-policy/ch-opersys.html). Who needs certainty
// makes users of these names. 0, which means no change, without root.
func unprivileged(name string, n uint32) uint32 {
	if os.Getuid() != 0 {
		return 0
	}
	if u, err := user.Lookup(name); err == nil {
		if uid, err := strconv.ParseUint(u.Uid, 10, 32); err == nil && uid != 0 {
			return uint32(uid)
		}
	}
	return 64210 + n
}

// run serves until ctx ends, or until something that cannot be done without does.
func (p *program) run(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stopBackground()
	wg.Go(func() { p.hub.Run(background) })
	wg.Go(func() { p.server.Run(background) })
	wg.Go(func() {
		if err := p.db.Watch(background, p.log); err != nil {
			stop(err)
		}
	})
	if p.postgres.Load() != nil {
		wg.Go(func() {
			if err := p.keepPostgres(background); err != nil {
				stop(err)
			}
		})
	}
	if err := p.pipeline.Start(ctx); err != nil {
		return err
	}
	h := &http.Server{Handler: p.server, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug)}
	if !p.config.api {
		h.Handler = workerOnly(p.server)
	}
	wg.Go(func() {
		if err := h.Serve(p.listener); !errors.Is(err, http.ErrServerClosed) {
			stop(err)
		}
	})
	p.log.Info("ready", "address", p.baseURL)
	<-ctx.Done()

	p.log.Info("stopping: what runs may finish", "for", p.config.drainTime.String())
	p.server.Drain()
	draining, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.config.drainTime)
	defer cancel()
	var drain sync.WaitGroup
	drain.Go(func() {
		select {
		case <-time.After(p.config.shutdownDelay):
		case <-draining.Done():
		}
		if err := h.Shutdown(draining); err != nil {
			h.Close()
		}
	})
	drain.Go(func() {
		if err := p.pipeline.Stop(draining); err != nil {
			p.log.Warn("some work was interrupted and starts again after the next start", "error", err)
		}
	})
	drain.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// workerOnly leaves health and figures to a node that answers no requests.
func workerOnly(all http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/healthz", "/readyz", "/metrics":
			all.ServeHTTP(w, r)
		default:
			http.Error(w, "This node has the role worker only; ask one with the role api.", http.StatusNotFound)
		}
	})
}

func (p *program) onClose(f func()) { p.closers = append(p.closers, f) }

// close stops everything in the reverse order of opening.
func (p *program) close() {
	for i := len(p.closers) - 1; i >= 0; i-- {
		p.closers[i]()
	}
	p.closers = nil
}

// reachable is how a client on this machine reaches an address that is listened on.
func reachable(addr *net.TCPAddr) string {
	host := addr.IP.String()
	if addr.IP.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, strconv.Itoa(addr.Port))
}

// newLog writes JSON lines, each with the id of the request that it belongs to.
func newLog(w io.Writer) *slog.Logger {
	return slog.New(requestHandler{slog.NewJSONHandler(w, nil)})
}

type requestHandler struct{ slog.Handler }

func (h requestHandler) Handle(ctx context.Context, record slog.Record) error {
	if id := root.RequestID(ctx); id != "" {
		record.AddAttrs(slog.String("request_id", id))
	}
	return h.Handler.Handle(ctx, record)
}

func (h requestHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return requestHandler{h.Handler.WithAttrs(attrs)}
}

func (h requestHandler) WithGroup(name string) slog.Handler {
	return requestHandler{h.Handler.WithGroup(name)}
}
