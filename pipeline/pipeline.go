// Package pipeline holds the use cases and the workers that take a document from
// request to delivery. Its hand-overs are commits: a job is inserted in the
// transaction that makes it necessary and completed in the one that does what it
// asks, so a crash at any point leaves either the one or the other.
package pipeline

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"platen"
	"platen/delivery"
	"platen/feed"
	"platen/jsonschema"
	"platen/keyring"
	"platen/liquid"
	"platen/migrations"
	"platen/pdf"
	"platen/renderer"
	"platen/storage"
	"platen/storage/blob"
)

// Options are the parts that the pipeline is made of.
type Options struct {
	DB      *storage.DB
	Blobs   blob.Store
	Hub     *feed.Hub
	Keyring *keyring.Keyring
	Liquid  *liquid.Engine
	Keys    *delivery.Keys
	Schemas *jsonschema.Checker
	// The ways to customers' servers.
	S3        *delivery.S3
	Presigned *delivery.Presigned
	Webhooks  *delivery.Webhooks
	Fetcher   *delivery.Fetcher
	PDF       *pdf.Tool // checks uploads, and finishes what is made
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// BaseURL is how clients reach Platen, without a slash at the end.
	BaseURL string

	// Workers tells whether this node does jobs, besides accepting them. The
	// following are needed only then.
	Workers  bool
	Renderer *renderer.Renderer
	// Renders, Merges and Deliveries are how many things of each kind are done at a time.
	Renders, Merges, Deliveries int
	// Alone says that no other node works on this database, so jobs that are
	// running when this one starts are left over from a crash.
	Alone bool
	// RetryBase is the pause before the second attempt of a delivery;
	// platen.DeliveryRetryBase unless a test is in a hurry.
	RetryBase time.Duration
	// MergeTime is how long a merge may take; DefaultMergeTime unless a test is in a hurry.
	MergeTime time.Duration
	// QueueLimit is how many documents may wait, of all accounts together, and half as many
	// of each; DefaultQueueLimit if it is 0.
	QueueLimit int
	// ExpireEvery is how long a copy may outlive its time; ExpireInterval unless a test
	// is in a hurry. A second at least.
	ExpireEvery time.Duration
}

// Pipeline accepts work and, on nodes that have workers, does it.
type Pipeline struct {
	Options
	river   *river.Client[*sql.Tx]
	metrics *metrics
	lanes   *lanes
	queue   *admission
	// storeFailed is when a document could not be stored last; nil: the last one could.
	storeFailed atomic.Pointer[time.Time]

	node     string // the name of this start of this process
	keeping  sync.WaitGroup
	stopKeep context.CancelFunc
	lease    *storage.Lease // once keeping is over

	mu       sync.Mutex
	versions map[publishedKey]published

	receiving chan struct{} // a place for each upload that is being checked
	merging   chan struct{} // and for each merge
}

const (
	queueRender      = "render"
	queueCombine     = "combine"
	queueDeliver     = "deliver"
	queueHousekeeper = "housekeeping"

	// jobTimeout is longer than the longest page timeout with the Liquid before it
	// and the marking of the PDF after it, so that a document's own deadline is the
	// one that it meets.
	jobTimeout = platen.MaxRenderTimeout*time.Second + 3*time.Minute
	// DefaultMergeTime is enough for the largest sources and for finding out which of them
	// is at fault.
	DefaultMergeTime = 4 * time.Minute
	// combines is how many combined submissions a node works on at a time: most of them
	// wait, for addresses or for their turn to be merged.
	combines = 16
	// combineTimeout is longer than it takes to fetch the addresses and to merge all that
	// other jobs have before it.
	combineTimeout = 10 * time.Minute
	// maxAttempts of a job count what kills a node or keeps it from an outcome, not what
	// is wrong with a document: the workers settle that themselves. What was begun so often
	// is given up by them too, in a transaction that gives the document or the action its
	// final state. River, which only ends the job, is never to come to it.
	maxAttempts      = 50
	riverMaxAttempts = 30_000 // of a smallint
)

// New makes a pipeline; Start begins its work.
func New(o Options) (*Pipeline, error) {
	if o.RetryBase == 0 {
		o.RetryBase = platen.DeliveryRetryBase
	}
	if o.MergeTime == 0 {
		o.MergeTime = DefaultMergeTime
	}
	if o.ExpireEvery == 0 {
		o.ExpireEvery = ExpireInterval
	}
	if o.QueueLimit == 0 {
		o.QueueLimit = DefaultQueueLimit
	}
	p := &Pipeline{Options: o, queue: &admission{limit: o.QueueLimit, count: o.DB.Waiting}, metrics: newMetrics(o.Metrics, o.DB, o.Hub), lanes: newLanes(o.RetryBase), node: nodeName(), versions: map[publishedKey]published{},
		receiving: make(chan struct{}, receipts), merging: make(chan struct{}, max(1, o.Merges))}
	config := &river.Config{
		ID:     p.node,
		Schema: migrations.RiverSchema,
		Logger: slog.New(quietRiver{o.Log.Handler()}),
		// What is inserted wakes the workers by a notification, which the inserting
		// client sends at most once per cooldown and queue; a longer one would lose
		// some until the next poll.
		FetchCooldown:     10 * time.Millisecond,
		FetchPollInterval: time.Second,
		JobTimeout:        jobTimeout,
		// The backstop for jobs that a living node has forgotten.
		RescueStuckJobsAfter: jobTimeout + time.Minute,
		MaxAttempts:          riverMaxAttempts,
	}
	if o.Workers {
		workers := river.NewWorkers()
		river.AddWorker(workers, &renderWorker{pipeline: p})
		river.AddWorker(workers, &combineWorker{pipeline: p})
		river.AddWorker(workers, &deliverWorker{pipeline: p})
		river.AddWorker(workers, &settleWorker{pipeline: p})
		river.AddWorker(workers, &expireWorker{pipeline: p})
		river.AddWorker(workers, &housekeepWorker{pipeline: p})
		config.Workers = workers
		config.Middleware = []rivertype.Middleware{river.WorkerMiddlewareFunc(giveBack)}
		config.Queues = map[string]river.QueueConfig{
			queueRender:      {MaxWorkers: o.Renders},
			queueCombine:     {MaxWorkers: combines},
			queueDeliver:     {MaxWorkers: o.Deliveries},
			queueHousekeeper: {MaxWorkers: 2}, // a long sweep keeps no expiry waiting
		}
		config.PeriodicJobs = []*river.PeriodicJob{every(housekeepInterval, housekeepArgs{}), every(o.ExpireEvery, expireArgs{})}
	}
	var err error
	p.river, err = river.NewClient(newDriver(o.DB, p.node), config)
	return p, err
}

// every is a job that some node does at the start and then at an interval.
func every(interval time.Duration, args river.JobArgs) *river.PeriodicJob {
	return river.NewPeriodicJob(river.PeriodicInterval(interval), func() (river.JobArgs, *river.InsertOpts) {
		return args, &river.InsertOpts{UniqueOpts: river.UniqueOpts{ByPeriod: interval}}
	}, &river.PeriodicJobOpts{RunOnStart: true})
}

// Start begins to work on jobs, if this node has workers.
func (p *Pipeline) Start(ctx context.Context) error {
	if !p.Workers {
		return nil
	}
	lease, err := p.start(ctx)
	if err != nil {
		return err
	}
	ctx, p.stopKeep = context.WithCancel(context.WithoutCancel(ctx))
	p.keeping.Go(func() { p.lease = p.live(ctx, lease) })
	p.keeping.Go(func() { p.reap(ctx) })
	return nil
}

// Stop fetches no more jobs, lets those that run finish until ctx ends or the lease is
// lost, and then interrupts them: they start again elsewhere, or here after the next start.
func (p *Pipeline) Stop(ctx context.Context) error {
	if !p.Workers || p.stopKeep == nil {
		return nil
	}
	p.stopKeep()
	p.keeping.Wait()
	ctx, stopHolding := context.WithCancel(ctx)
	var holding sync.WaitGroup
	if p.lease != nil {
		defer p.lease.Close() // not before the last job is over
		holding.Go(func() {
			_ = held(ctx, p.lease.Check) // lost, others take over what runs
			stopHolding()
		})
	}
	defer holding.Wait()
	defer stopHolding()
	err := p.river.Stop(ctx)
	if ctx.Err() == nil {
		return err
	}
	hard, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	return p.river.StopAndCancel(hard)
}

// giveBack lets a job that was interrupted because the node stops, or has lost its
// lease, start again at once, and spends no attempt: there is nothing wrong with it.
func giveBack(ctx context.Context, _ *rivertype.JobRow, work func(context.Context) error) error {
	err := work(ctx)
	if err != nil && errors.Is(ctx.Err(), context.Canceled) { // a job that takes too long exceeds a deadline
		return river.JobSnooze(0)
	}
	return err
}

// quietRiver passes on what of the job engine's log concerns an operator: a failed
// attempt that is tried again is told by the worker itself.
type quietRiver struct{ slog.Handler }

func (h quietRiver) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && h.Handler.Enabled(ctx, level)
}

// Handle leaves out what was merely cut off because the node stops.
func (h quietRiver) Handle(ctx context.Context, record slog.Record) error {
	stopping := false
	record.Attrs(func(attr slog.Attr) bool {
		stopping = stopping || strings.Contains(attr.Value.String(), context.Canceled.Error())
		return !stopping
	})
	if stopping {
		return nil
	}
	return h.Handler.Handle(ctx, record)
}

func (h quietRiver) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quietRiver{h.Handler.WithAttrs(attrs)}
}

func (h quietRiver) WithGroup(name string) slog.Handler { return quietRiver{h.Handler.WithGroup(name)} }
