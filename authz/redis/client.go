// Package redis is the connection to a Redis that replicas share, for those who
// can go on without it: a call is answered within a short time or fails, and while
// Redis is down no call costs anything.
package redis

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"
)

const (
	poolSize     = 64                     // connections; each may hold a few kB
	probeTimeout = time.Second            // of a connection's beginning and of a probe
	probeIdle    = 5 * time.Second        // between probes while all is well
	probeFirst   = 250 * time.Millisecond // between probes while Redis is down, doubling
	probeLast    = 5 * time.Second        // up to this
	patience     = 3                      // calls in a row without an answer, and it counts as down
	forget       = 10 * time.Second       // a refusal that is older than this, and an answer after it, is over
)

// Operation is what a call is for, in metrics and logs.
type Operation int

// The operations.
const (
	Limit Operation = iota // counts in a rate limit
	Read                   // looks for an identity
	Write                  // stores an identity
	Proof                  // remembers a proof of a client's key
	operations
)

// String is the operation's name.
func (o Operation) String() string { return [...]string{"limit", "read", "write", "proof"}[o] }

// How a call ended.
const (
	Answered = "answered"
	Refused  = "refused" // Redis said no, such as for want of memory
	Failed   = "failed"  // no answer in time
	Skipped  = "skipped" // Redis is down: it was not asked
)

// Options configure a [Client].
type Options struct {
	Logger *slog.Logger // default: discard
	// Observe, if set, hears of each call: how it ended and how long it took. It
	// must be quick.
	Observe func(op Operation, outcome string, d time.Duration)
}

// Client talks to one Redis, be it several servers. It is for concurrent use; make it with [New].
type Client struct {
	url     URL
	log     *slog.Logger
	observe func(Operation, string, time.Duration)

	conns    atomic.Pointer[goredis.UniversalClient] // anew after each time that Redis was down
	up       atomic.Bool
	failures atomic.Int32  // in a row
	trouble  chan struct{} // wakes Run; has room for one
	tried    chan struct{} // closed once Redis has been tried

	refusing [operations]atomic.Bool
	mu       sync.Mutex // for what follows
	down     string     // why it is down; "" if it is up
	refusals [operations]refusal
}

// refusal is the last time that Redis refused an operation.
type refusal struct {
	reason string
	at     time.Time
}

// New makes a client, which is down until [Client.Run] has reached Redis.
func New(url URL, opts Options) *Client {
	logging.Disable() // the library's own, which would go to standard error past ours
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	if opts.Observe == nil {
		opts.Observe = func(Operation, string, time.Duration) {}
	}
	c := &Client{
		url: url, log: opts.Logger.With(slog.String("redis", url.String())), observe: opts.Observe,
		trouble: make(chan struct{}, 1), tried: make(chan struct{}), down: untried,
	}
	c.conns.Store(new(url.connect()))
	return c
}

// URL is what the client was made of.
func (c *Client) URL() URL { return c.url }

// Do asks Redis. call gets a context that ends in time, at the latest with ctx, and must
// return the library's error. An error means that there is no answer: the caller must do
// without, now. A call whose ctx has ended says nothing about Redis.
func (c *Client) Do(ctx context.Context, op Operation, call func(ctx context.Context, r goredis.Cmdable) error) error {
	if !c.up.Load() {
		c.observe(op, Skipped, 0)
		return errDown
	}
	within, cancel := context.WithTimeout(ctx, c.url.timeout)
	defer cancel()
	start := time.Now()
	err := call(within, *c.conns.Load())
	if err != nil && ctx.Err() != nil {
		return err
	}
	outcome := c.url.outcomeOf(err)
	c.observe(op, outcome, time.Since(start))
	switch outcome {
	case Failed:
		c.failed(err)
	case Refused:
		c.failures.Store(0)
		c.refuse(op, err)
	default:
		c.failures.Store(0)
		c.accept(op)
	}
	return err
}

var errDown = errors.New("redis is down")

const untried = "it was not tried yet"

// outcomeOf tells a Redis that answered no from one that could not be asked. A
// connection that Redis does not let in counts as the latter, and so does a server that
// others have taken the place of.
func (u URL) outcomeOf(err error) string {
	var reply goredis.Error
	switch {
	case err == nil || errors.Is(err, goredis.Nil):
		return Answered
	case !errors.As(err, &reply):
		return Failed
	}
	unwelcome := []string{"WRONGPASS", "NOAUTH", "AUTH", "Client sent AUTH", "max number of clients", "DB index", "invalid DB"}
	if u.cluster || u.master != "" {
		unwelcome = append(unwelcome, "READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "MOVED", "ASK")
	}
	for _, prefix := range unwelcome {
		if goredis.HasErrorPrefix(err, prefix) {
			return Failed
		}
	}
	return Refused
}

// failed counts a call without an answer. One that waited for a connection only
// says that there is much to do.
func (c *Client) failed(err error) {
	if errors.Is(err, goredis.ErrPoolTimeout) || c.failures.Add(1) < patience || !c.fall(err, false) {
		return
	}
	select {
	case c.trouble <- struct{}{}:
	default:
	}
}

// fall takes Redis for down, and tells whether that is news. Its connections are
// given up, since they may hang: a probe begins with new ones.
func (c *Client) fall(err error, probed bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !probed && !c.up.Load() {
		return false // another call has found out
	}
	news := c.up.Swap(false) || c.down == untried
	c.down = c.url.clean(err)
	if late := net.Error(nil); errors.As(err, &late) && late.Timeout() {
		c.down = "it does not answer in time"
	}
	if news {
		c.log.Warn("Redis can't be used: each replica goes on by itself until it is back", slog.String("reason", c.down))
	}
	_ = (*c.conns.Swap(new(c.url.connect()))).Close()
	return news
}

// rise takes Redis for up.
func (c *Client) rise() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.failures.Store(0)
	c.down = ""
	if !c.up.Swap(true) {
		c.log.Info("Redis is used")
	}
}

// refuse notes that Redis refuses an operation, and logs the beginning.
func (c *Client) refuse(op Operation, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := refusal{reason: unwrapped(c.url.clean(err)), at: time.Now()}
	if !c.refusing[op].Swap(true) {
		c.log.Warn("Redis refuses: each replica goes on by itself", slog.String("operation", op.String()), slog.String("reason", r.reason))
	}
	c.refusals[op] = r
}

// unwrapped is what a command within a script was refused for. Before version 7,
// Redis puts the script's own troubles in front of it: "ERR Error running script
// (call to f_…): @user_script:11: @user_script: 11: -OOM command not allowed …".
func unwrapped(reason string) string {
	if _, inner, found := strings.Cut(reason, "@user_script: "); found && strings.HasPrefix(reason, "ERR Error running script") {
		if _, command, found := strings.Cut(inner, ": -"); found {
			return command
		}
	}
	return reason
}

// accept notes that Redis does an operation again, and logs it when that lasts.
func (c *Client) accept(op Operation) {
	if !c.refusing[op].Load() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.refusals[op].at) > forget && c.refusing[op].Swap(false) {
		c.log.Info("Redis no longer refuses", slog.String("operation", op.String()))
	}
}

// State tells whether Redis is used, and what is wrong with it, for people.
func (c *Client) State() (up bool, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.down != "" {
		return false, c.down
	}
	for op := range operations {
		if c.refusing[op].Load() {
			return true, "it refuses to " + op.String() + ": " + c.refusals[op].reason
		}
	}
	return true, ""
}

// Tried is closed once it is known whether Redis is up.
func (c *Client) Tried() <-chan struct{} { return c.tried }

// Run keeps watch over Redis until ctx ends. While Redis is down, only Run asks it
// whether it is back: no request pays for that.
func (c *Client) Run(ctx context.Context) {
	wait, fell := probeFirst, time.Now()
	for first := true; ; first = false {
		pause := probeIdle
		if err := c.probe(ctx); ctx.Err() != nil {
			return
		} else if err != nil {
			c.fall(err, true)
			pause, wait, fell = jittered(wait), min(2*wait, probeLast), time.Now()
		} else {
			c.rise()
			if time.Since(fell) > forget {
				wait = probeFirst
			}
		}
		if first {
			close(c.tried)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
			continue
		case <-c.trouble:
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(jittered(wait)):
			wait, fell = min(2*wait, probeLast), time.Now()
		}
	}
}

func jittered(d time.Duration) time.Duration { return d/2 + rand.N(d) }

// probe asks whether Redis is there: with patience, for a connection may have to
// begin; and if it was down, then once more as quickly as calls want it.
func (c *Client) probe(ctx context.Context) error {
	ping := func(within time.Duration) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		return (*c.conns.Load()).Ping(ctx).Err()
	}
	if err := ping(probeTimeout); err != nil || c.up.Load() {
		return err
	}
	return ping(c.url.timeout)
}

// Close gives up the connections. Redis is down after that.
func (c *Client) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.up.Store(false)
	c.down = "the connection was closed"
	_ = (*c.conns.Load()).Close()
}
