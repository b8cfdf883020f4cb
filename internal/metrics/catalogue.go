package metrics

// Kind is what a family's values are.
type Kind uint8

// The kinds of families.
const (
	Counter   Kind = iota // goes up from 0; it begins anew when the process does
	Gauge                 // goes up and down
	Durations             // a histogram of nanoseconds, shown in seconds
	Sizes                 // a histogram of counts
)

// Family is one metric: its values differ by Labels. Immutable.
type Family struct {
	Name   string // without the unit it would be unclear: _seconds, _bytes, _total for a Counter
	Help   string // what it counts, for people
	Kind   Kind
	Labels []string // each with few values, and none that a client can choose

	index  int       // in Families
	bounds [2]bounds // of its classes as text; by whether it is for OpenMetrics
}

// What is measured. A label's values come from the code or the configuration:
// "method" is a name of the registry, "loop" an index from 0.
var (
	BuildInfo    = gauge("build_info", "Always 1: which version runs.", "version", "go")
	Ready        = gauge("ready", "1 while clients are served and the stores answer, else 0.")
	Draining     = gauge("draining", "1 from SIGTERM to the end, else 0.")
	DrainSeconds = gauge("drain_seconds", "How long the drain has lasted; 0 while there is none.")
	DrainLimit   = gauge("drain_deadline_seconds", "shutdown.deadline: how long a drain may take.")
	Certificate  = gauge("certificate_not_after_seconds", "When the TLS certificate ends, in seconds since 1970; 0 without TLS.")
	Reloads      = counter("reloads_total", "Reloads of the configuration, by result: ok or refused.", "result")
	LogLines     = counter("log_lines_total", "Lines of the log, by level: those that were written and those that were sampled away.", "level")

	Calls     = counter("rpc_calls_total", "Calls of methods by clients that have ended or were refused, notifications included, by the error's code; ok: there was none. Calls of methods that there are not are all of the method unknown.", "method", "code")
	CallQueue = durations("rpc_queue_seconds", "From when the daemon had read the message to when the call began: behind others of its loop, in the input of its connection and in the session's mailbox.", "method")
	CallRun   = durations("rpc_run_seconds", "From when the call began, the reading of its bytes and decoding included, to when its response was written. Methods that wait for a client, by //rpc:waits, have waits=\"client\"; the others have no such label.", "method", "waits")
	Underway  = gauge("rpc_calls_underway", "Calls that have begun and not ended: those of futures and workers, to clients and from them.")

	Asked       = counter("client_calls_total", "Calls of clients' functions by the server that have ended.")
	AskedErrors = counter("client_call_errors_total", "Those that ended with an error, by its code.", "code")
	AskedTime   = durations("client_call_seconds", "From when the server asked to when the client had answered, or the time was over.")
	Stray       = counter("stray_responses_total", "Responses of clients that nobody waited for.")
	Panics      = counter("panics_total", "Methods that panicked.")
	FailedNotes = counter("failed_notifications_total", "Notifications of clients that failed, which nobody is told.")

	LoopTurns     = counter("loop_turns_total", "Turns of the loop.", "loop")
	LoopTurn      = durations("loop_turn_seconds", "How long one turn took, from when it had its events to when it could wait for the next.", "loop")
	LoopLag       = durations("loop_lag_seconds", "How late timers ran: what a timer waits that is due now.", "loop")
	LoopSlow      = counter("loop_slow_callbacks_total", "Callbacks that held a loop longer than loop.slow_callback, by the method; - where it was none.", "method")
	LoopCallbacks = gauge("loop_callbacks_waiting", "Callbacks that wait for the next turn.", "loop")
	LoopConns     = gauge("loop_connections", "Connections of the loop.", "loop")
	LoopInbox     = gauge("loop_inbox_bytes", "Deliveries from other loops that wait for this one, about.", "loop")
	Workers       = gauge("workers", "Goroutines for blocking methods, by state: running or idle.", "state")
	WorkerQueue   = gauge("worker_queue", "Blocking calls that wait for a worker.")
	WorkerRefused = counter("workers_refused_total", "Blocking calls that were refused since loop.worker_queue was full.")

	Connections   = gauge("connections", "Open client connections, by what carries them and by framing.", "transport", "framing")
	ConnectionMax = gauge("connections_limit", "limits.max_connections, as far as the descriptors allow.")
	Online        = gauge("players_online", "Sessions that are logged in.")
	Accepted      = counter("connections_accepted_total", "Connections that were accepted.")
	Refused       = counter("connections_refused_total", "Connections that were refused or went wrong before their first message, by why.", "reason")
	AcceptPaused  = counter("accept_paused_total", "Times that accepting stopped for a moment: no descriptors or no memory were left.")
	Closed        = counter("connections_closed_total", "Sessions that have ended, by the code of sys.closing that the client was told; gone: the client has ended it by itself.", "reason")
	Handshakes    = gauge("tls_handshakes", "TLS handshakes under way.")
	Received      = counter("received_bytes_total", "Bytes received from clients.")
	Sent          = counter("sent_bytes_total", "Bytes sent to clients.")
	WaitingBytes  = gauge("write_buffer_bytes", "Bytes that wait to be sent, of all clients.")
	WaitingMax    = gauge("write_buffer_limit_bytes", "limits.max_total_write_buffer_bytes.")
	InputBytes    = gauge("input_bytes", "Bytes received and not handled yet, of all clients.")
	InputMax      = gauge("input_limit_bytes", "limits.max_total_input_bytes.")
	Mailbox       = gauge("mailbox_messages", "Messages that wait in mailboxes.")
	MailboxSize   = sizes("mailbox_length", "Messages in a session's mailbox after one more had come.")
	MailboxFull   = counter("mailbox_full_total", "Times that reading stopped at a full mailbox.")
	OverRate      = counter("rate_limited_total", "Messages over limits.rate_per_second, by kind: request or notification; login: logins over limits.login_rate_per_ip.", "kind")
	Shed          = counter("shed_total", "Sessions refused or closed for want of memory, by which: new, stranger, input, output.", "which")

	StoreUp      = gauge("store_up", "1 while the store answers, else 0.", "store")
	StoreTime    = durations("store_seconds", "How long calls of the store took, waiting included.", "store")
	StoreErrors  = counter("store_errors_total", "Calls of the store that failed, by the error's code.", "store", "code")
	StoreConns   = gauge("store_connections", "Connections to the store, by state: busy or idle.", "store", "state")
	StoreWaiting = gauge("store_waiting", "Calls that wait for a connection to the store.", "store")
	Commits      = counter("commit_batches_total", "Transactions of the group commit that committed.")
	CommitTime   = durations("commit_seconds", "How long a batch took, from its begin to the answer to its COMMIT.")
	CommitRows   = sizes("commit_rows", "Rows of a batch.")
	CommitWait   = gauge("commit_waiting", "Changes that wait for their commit.")
	CommitMax    = gauge("commit_waiting_limit", "store.queue.")
	Changes      = counter("commit_changes_total", "Changes of players, by outcome: stored, lost_race, abandoned.", "outcome")
	CommitAgain  = counter("commit_retries_total", "Transactions that were rolled back or lost, and tried again.")
	Players      = gauge("players_loaded", "Players whose state is in memory.")

	TaskRuns    = counter("task_runs_total", "Runs of tasks that have ended in this process, by outcome: done, failed, archived, revoked, lost.", "task", "outcome")
	TaskTime    = durations("task_seconds", "How long runs of tasks took.", "task")
	TasksMade   = counter("tasks_applied_total", "Tasks that this process has applied.", "task")
	TasksNow    = gauge("tasks_running", "Tasks that run in this process.")
	TaskStrays  = gauge("tasks_stray", "Functions of tasks that run on though their runs were given up: they do not heed their context.")
	QueueDepth  = gauge("queue_depth", "Tasks in a queue of Redis, by state: waiting, active, later.", "queue", "state")
	QueueOldest = gauge("queue_oldest_seconds", "How long the first of a queue has waited.", "queue")

	Scrapes      = counter("scrapes_total", "Times that /metrics was asked for, by result: ok; refused since too many did at once; cut: read too slowly, or not to the end.", "result")
	PushBuffered = gauge("push_buffered_bytes", "What waits to be sent to InfluxDB.")
	PushSent     = counter("push_total", "Batches for InfluxDB, by result: ok, failed, dropped.", "result")
	Spans        = counter("spans_total", "Spans, by result: sent, failed, dropped; limited: calls not traced since tracing.max_per_second were.", "result")
	ConsolePages = gauge("console_pages", "Pages of the console that are open.")
)

// Families are all of them, in the order above: what docs/metrics.md lists, and
// what each collection may hold.
func Families() []*Family { return families }

var families []*Family

// Values of labels that have a meaning beyond their word.
const (
	OK          = "ok"      // code of Calls: there was no error
	NoMethod    = "unknown" // method of Calls of methods that there are not; no method can have the name
	WaitsClient = "client"  // waits of CallRun; "", which is no label: the method waits for no client
)

const prefix = "gameserverd_"

func add(kind Kind, name, help string, labels []string) *Family {
	f := &Family{Name: prefix + name, Help: help, Kind: kind, Labels: labels, index: len(families)}
	f.bounds = [2]bounds{f.textBounds(false), f.textBounds(true)}
	families = append(families, f)
	return f
}

func counter(name, help string, labels ...string) *Family { return add(Counter, name, help, labels) }
func gauge(name, help string, labels ...string) *Family   { return add(Gauge, name, help, labels) }
func durations(name, help string, labels ...string) *Family {
	return add(Durations, name, help, labels)
}
func sizes(name, help string, labels ...string) *Family { return add(Sizes, name, help, labels) }
