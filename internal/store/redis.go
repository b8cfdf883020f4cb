package store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"gameserverd/internal/future"
)

// RedisOptions are the options of OpenRedis. A zero stands for the default.
type RedisOptions struct {
	// URL says where the Redis is:
	//
	//	embedded                                                     in this process; Dial leads there
	//	redis://[[user]:password@]host[:6379][/db]                   one server
	//	unix://[[user]:password@]/path/to/socket[?db=n]              one server, by its unix socket; redis+unix:// is the same
	//	redis-sentinel://[[user]:password@]host[:26379],...[/db]?master_name=name
	//	                                                             the servers are sentinels, who know the master; user and password
	//	                                                             are the master's, sentinel_user and sentinel_password theirs
	//	redis-cluster://[[user]:password@]host[:6379],...            some nodes of a cluster, which know the others
	//
	// rediss, rediss-sentinel and rediss-cluster are the same over TLS, and take ca_file=path (who signs the servers' certificates, in
	// place of the system's authorities), cert_file=path and key_file=path (for servers that ask for a certificate), server_name=name
	// (in the servers' certificates, where it is not the host) and skip_verify=true (believe any certificate: for tests).
	// A / ? # @ : , or % in a user or password is written %2F %3F %23 %40 %3A %2C %25.
	URL string

	PoolSize int           // connections, and calls that run at a time; in a cluster connections of each node; 500
	Queue    int           // calls that wait for one of them; 4096
	Timeout  time.Duration // of one call, waiting and running together; 2 s
	Log      *zap.Logger   // nil: nothing is logged
	Health   *Health       // nil: one of its own

	Dial func(ctx context.Context) (net.Conn, error) // a new connection to the Redis in this process; for "embedded" and nothing else
}

// The bounds of one call.
const (
	MaxBatch     = 100_000  // commands of a Batch
	maxCallBytes = 64 << 20 // of all arguments
)

// What connections may cost while they are unused. Those to a server are all kept, since making one takes three round trips, so their
// buffers are small. In this process making one takes next to nothing, and each has a goroutine of the embedded server, so few are.
const (
	connBuffer         = 16 << 10 // bytes, each way
	keptConnsInProcess = 16
)

// Command is one command of a Batch: its name and arguments, as Execute takes them.
type Command []any

// Redis is a Redis server, or a group of them. Its calls are futures, or block with a context; both wait in one queue for one of
// PoolSize connections, and both are over when Options.Timeout is.
//
// Their errors: unavailable when the server cannot be reached, is not ready to serve, or has not answered in time (whether the command
// took effect is not known then, unless the message says so); resource_exhausted when Queue calls wait; the caller's own context
// error; for a command that the server refuses a *ReplyError; and an error without a code for what is no command. Nothing is ever sent
// twice, so that INCR counts once: a connection that is lost with a command on it means unavailable.
//
// A command is the program's constant. Its arguments are strings, bytes, integers, floats and bools (1 and 0), of any content; bytes
// must not be changed afterwards, since a call that is over may still be sending them. Commands that change the connection, which is
// another call's next (SELECT, MULTI, SUBSCRIBE and their like), are refused: for several commands in one step there is Script. A
// command that waits in the server (BLPOP, XREADGROUP BLOCK) has to wait for less than Timeout.
type Redis struct {
	// immutable after OpenRedis
	timeout time.Duration
	health  *Health
	lane    *lane
	client  redis.UniversalClient
	within  bool   // it is in this process
	moved   func() // a server was lost: look where its keys are now; nil unless it is a cluster
}

// OpenRedis checks the options and makes the pool; it does not connect. Its error says what is wrong with the options and what is
// allowed, without a password. Any goroutine.
func OpenRedis(o RedisOptions) (*Redis, error) {
	if o.PoolSize < 0 || o.Queue < 0 || o.Timeout < 0 {
		return nil, errors.New("store: PoolSize, Queue and Timeout cannot be negative")
	}
	orDefault(&o.PoolSize, 500)
	orDefault(&o.Queue, 4096)
	orDefault(&o.Timeout, 2*time.Second)
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Health == nil {
		o.Health = NewHealth("redis", o.Log, nil)
	}
	place, err := parseRedisURL(o.URL)
	switch {
	case err != nil:
		return nil, err
	case place.form == inProcess && o.Dial == nil:
		return nil, errors.New("store: redis URL: embedded needs Dial, which leads to it")
	case place.form != inProcess && o.Dial != nil:
		return nil, errors.New("store: redis URL: Dial is for embedded and nothing else")
	}
	r := &Redis{timeout: o.Timeout, health: o.Health, lane: newLane(o.PoolSize, o.Queue), within: place.form == inProcess}
	r.connect(o, place)
	return r, nil
}

// connect makes the client.
func (r *Redis) connect(o RedisOptions, place redisPlace) {
	common := &redis.UniversalOptions{
		Addrs:      place.addrs,
		Username:   place.user,
		Password:   place.password,
		DB:         place.db,
		ClientName: "gameserverd",
		Dialer:     place.dialer(o.Timeout, o.Dial),

		// RESP2, in which embedded and old servers say everything as new ones do.
		Protocol:        2,
		DisableIdentity: true,

		// A command that was sent may have taken effect: it is not sent again. See also once.
		MaxRetries:    -1,
		MaxRedirects:  3, // of a cluster, where a redirected command has not run
		DialerRetries: 1,

		// Who finds no free connection waits until its deadline; there are no connections beside PoolSize.
		PoolSize:              o.PoolSize,
		ReadBufferSize:        connBuffer,
		WriteBufferSize:       connBuffer,
		PoolTimeout:           o.Timeout,
		PipelinePoolSize:      -1,
		DialTimeout:           o.Timeout,
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		ContextTimeoutEnabled: true,

		MasterName:       place.master,
		SentinelUsername: place.sentinelUser,
		SentinelPassword: place.sentinelPassword,
	}
	switch place.form {
	case sentinels:
		r.client = redis.NewFailoverClient(common.Failover())
	case nodes:
		options := common.Cluster()
		options.MaintNotificationsConfig = noNotifications()
		options.DisableRoutingPolicies = true // a command goes to its key's node, or to any
		cluster := redis.NewClusterClient(options)
		r.client, r.moved = cluster, func() { cluster.ReloadState(context.Background()) }
	default:
		options := common.Simple()
		if place.form == inProcess {
			options.MaxIdleConns = keptConnsInProcess
		}
		options.MaintNotificationsConfig = noNotifications()
		r.client = redis.NewClient(options)
	}
}

// Execute runs a command and returns its reply; a nil reply is a Reply, not an error. Any goroutine.
func (r *Redis) Execute(cmd string, args ...any) *future.Future[Reply] {
	return r.execute(context.Background(), commandOf(cmd, args))
}

// ExecuteContext is Execute for code that may block; ctx bounds it too. Any goroutine but a loop's.
func (r *Redis) ExecuteContext(ctx context.Context, cmd string, args ...any) (Reply, error) {
	return r.execute(ctx, commandOf(cmd, args)).Wait(context.Background()) // ctx is in the call: it is answered when ctx ends
}

// Batch runs commands in one pipeline, which is one round trip and no transaction: others' commands may run between them, and one that
// fails stops none. It returns a Reply for each, which holds the command's own error; it fails as a whole only if the store was away for
// all of them. In a cluster each node's commands are a pipeline of their own. Any goroutine.
func (r *Redis) Batch(cmds ...Command) *future.Future[[]Reply] {
	return r.batch(context.Background(), cmds)
}

// BatchContext is Batch for code that may block; ctx bounds it too. Any goroutine but a loop's.
func (r *Redis) BatchContext(ctx context.Context, cmds ...Command) ([]Reply, error) {
	return r.batch(ctx, cmds).Wait(context.Background())
}

// Client is the client underneath, with none of the bounds, checks and promises of Redis. For package tasks only. Any goroutine.
func (r *Redis) Client() redis.UniversalClient { return r.client }

// InProcess tells whether it is the Redis in this process, which no other process can use. Any goroutine.
func (r *Redis) InProcess() bool { return r.within }

// Ping asks the server for an answer, bounded by ctx and Timeout. It does not tell Health: for Health.Watch. In a cluster it asks one
// node. Any goroutine but a loop's.
func (r *Redis) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.timeout, errTimeout)
	defer cancel()
	if err := r.client.Ping(ctx).Err(); err != nil {
		return unavailable("the store cannot be reached", plainly(ctx, err))
	}
	return nil
}

// Close refuses calls from now on and waits for those under way, waiting ones included, until ctx ends; then it answers those that are
// left with unavailable, closes their connections, and returns ctx's error. Any goroutine but a loop's.
func (r *Redis) Close(ctx context.Context) error {
	err := r.lane.close(ctx)
	if closing := r.client.Close(); closing != nil && !errors.Is(closing, redis.ErrClosed) {
		err = errors.Join(err, fmt.Errorf("store: closing redis: %w", closing))
	}
	return err
}

func (r *Redis) execute(ctx context.Context, cmd Command) *future.Future[Reply] {
	if err := checkCommand(cmd, new(int)); err != nil {
		return future.Failed[Reply](err)
	}
	return submit(r.lane, ctx, r.timeout, r.late, func(c *call) (Reply, error) {
		c.begin()
		return r.run(c.ctx, cmd)
	})
}

// run sends one command and waits for its reply. It is a worker's.
func (r *Redis) run(ctx context.Context, cmd Command) (Reply, error) {
	sent := redis.NewCmd(ctx, cmd...)
	err := r.client.Process(ctx, once{sent})
	if err := r.outcome(ctx, err); err != nil {
		return Reply{}, err
	}
	return Reply{value: sent.Val()}, nil
}

func (r *Redis) batch(ctx context.Context, cmds []Command) *future.Future[[]Reply] {
	if len(cmds) == 0 {
		return future.Resolved([]Reply{})
	}
	if len(cmds) > MaxBatch {
		return future.Failed[[]Reply](fmt.Errorf("store: a batch of %d redis commands, at most %d", len(cmds), MaxBatch))
	}
	size := 0
	for i, cmd := range cmds {
		if err := checkCommand(cmd, &size); err != nil {
			return future.Failed[[]Reply](fmt.Errorf("%w (command %d of the batch)", err, i+1))
		}
	}
	return submit(r.lane, ctx, r.timeout, r.late, func(c *call) ([]Reply, error) {
		c.begin()
		return r.runAll(c.ctx, cmds)
	})
}

// runAll sends the commands in one go and waits for their replies. It is a worker's.
func (r *Redis) runAll(ctx context.Context, cmds []Command) ([]Reply, error) {
	sent := make([]*redis.Cmd, len(cmds))
	pipe := r.client.Pipeline()
	for i, cmd := range cmds {
		sent[i] = redis.NewCmd(ctx, cmd...)
		_ = pipe.Process(ctx, once{sent[i]}) // queues it; what becomes of it is in sent[i]
	}
	_, err := pipe.Exec(ctx)
	if err != nil && !slices.ContainsFunc(sent, func(cmd *redis.Cmd) bool { return cmd.Err() != nil }) {
		return nil, r.outcome(ctx, err) // the server has refused the connection, of which go-redis tells no command
	}
	replies := make([]Reply, len(cmds))
	var raw, lost error // of the first that the store was away for: as go-redis said it, as callers get it
	answered := false
	for i, cmd := range sent {
		err := cmd.Err()
		switch {
		case err == nil || err == redis.Nil:
			replies[i].value = cmd.Val()
			answered = true
			continue
		case lost != nil && err == raw: // one lost connection is the error of all that were on it
			replies[i].Err = lost
			continue
		}
		replies[i].Err = r.outcome(ctx, err)
		if _, refused := replies[i].Err.(*ReplyError); refused {
			answered = true
		} else if lost == nil {
			raw, lost = err, replies[i].Err
		}
	}
	if !answered {
		return nil, lost
	}
	if lost == nil {
		r.health.Ok()
	}
	return replies, nil
}

// commandOf puts a command's name before its arguments.
func commandOf(cmd string, args []any) Command {
	whole := make(Command, 0, 1+len(args))
	return append(append(whole, cmd), args...)
}

// late is told of calls whose time is over while the client has them.
func (r *Redis) late() { r.lost(errTimeout) }

// lost says that a server could not be reached, and why.
func (r *Redis) lost(err error) {
	r.health.Failed(err)
	if r.moved != nil {
		r.moved()
	}
}

// once is a command that go-redis must not send again, whatever became of it. The client of a cluster would, when a connection is lost,
// as often as it follows redirects.
type once struct{ *redis.Cmd }

// NoRetry is go-redis's question.
func (once) NoRetry() bool { return true }
