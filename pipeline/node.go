package pipeline

import (
	"context"
	"os"
	"slices"
	"time"

	"platen"
	"platen/storage"
)

const (
	// leaseInterval is how often a node looks whether it still has its lease, and
	// leasePatience how long the answer may take. Together they are far below
	// storage.LeaseTime: who has lost it stops before others begin.
	leaseInterval = 500 * time.Millisecond
	leasePatience = 2 * time.Second
	// reapInterval is how often each node looks for jobs of nodes that are gone. A node
	// that shows no life twice in a row is.
	reapInterval = time.Second
	// againInterval is the pause between attempts to get the lease back.
	againInterval = 500 * time.Millisecond
)

// nodeName names this start of this process: a job that names another one's node as its
// own would never be found to be lost.
func nodeName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		host = "node"
	}
	return host[:min(len(host), 60)] + "_" + platen.RandomString(8)
}

// live works while this node has its lease. Without it others take over its jobs, so it
// stops its own, and begins again once it has it back. It returns the lease when ctx
// ends, nil if there is none.
func (p *Pipeline) live(ctx context.Context, lease *storage.Lease) *storage.Lease {
	for {
		err := held(ctx, lease.Check)
		if ctx.Err() != nil {
			return lease
		}
		p.Log.WarnContext(ctx, "this node lost its lease: what it does is interrupted, and starts again here or on another", "node", p.node, "error", err)
		lease.Close()
		if err := p.river.StopAndCancel(ctx); err != nil {
			return nil // ctx has ended
		}
		if lease = p.begin(ctx); lease == nil {
			return nil
		}
		p.Log.InfoContext(ctx, "this node has its lease again, and works", "node", p.node)
	}
}

// held waits until a check of the lease fails, and says why, or until ctx ends. A check that has
// begun is not broken off: its connection would be cut, and the lease is gone with it.
func held(ctx context.Context, check func(context.Context, time.Duration) error) error {
	ticker := time.NewTicker(leaseInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		if ctx.Err() != nil { // where both were ready
			return ctx.Err()
		}
		if err := check(context.WithoutCancel(ctx), leasePatience); err != nil {
			return err
		}
	}
}

// begin gets the lease and starts to work, as soon as the database lets it. It returns
// nil when ctx ends before.
func (p *Pipeline) begin(ctx context.Context) *storage.Lease {
	for {
		lease, err := p.start(ctx)
		if err == nil {
			return lease
		}
		p.Log.DebugContext(ctx, "this node cannot work yet", "node", p.node, "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(againInterval):
		}
	}
}

// start gets the lease and starts to work.
func (p *Pipeline) start(ctx context.Context) (*storage.Lease, error) {
	lease, err := p.DB.Lease(ctx, p.node)
	if err != nil {
		return nil, err
	}
	// Nothing runs here. Of a node that is alone, nothing runs anywhere.
	node := p.node
	if p.Alone {
		node = ""
	}
	released, err := p.DB.ReleaseJobs(ctx, node)
	if err == nil {
		err = p.river.Start(context.WithoutCancel(ctx))
	}
	if err != nil {
		lease.Close()
		return nil, err
	}
	if released > 0 {
		p.Log.InfoContext(ctx, "jobs that were interrupted start again", "jobs", released)
	}
	return lease, nil
}

// reap lets the jobs of nodes that are gone start again.
func (p *Pipeline) reap(ctx context.Context) {
	ticker := time.NewTicker(reapInterval)
	defer ticker.Stop()
	var missed []string
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		missing, err := p.DB.NodesWithoutLease(ctx)
		twice := slices.DeleteFunc(slices.Clone(missing), func(node string) bool { return !slices.Contains(missed, node) })
		var released int64
		if err == nil && len(twice) > 0 {
			released, err = p.DB.ReleaseJobsOf(ctx, twice)
		}
		if err != nil {
			if ctx.Err() == nil && !storage.Unavailable(err) { // that is said elsewhere
				p.Log.WarnContext(ctx, "jobs of nodes that are gone could not be looked for", "error", err)
			}
			continue
		}
		if released > 0 {
			p.Log.WarnContext(ctx, "jobs of nodes that are gone start again", "nodes", twice, "jobs", released)
		}
		missed = missing
	}
}
