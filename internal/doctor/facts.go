package doctor

import (
	"io/fs"
	"time"

	"gameserverd/internal/ctl"
)

// Facts are what Look has seen. A number that could not be read is 0, unless it
// says otherwise.
type Facts struct {
	Now  time.Time
	Root bool // who looks is root, and may read what the daemon's user may not

	Daemon      DaemonFacts
	Descriptors DescriptorFacts
	Kernel      KernelFacts
	Clock       ClockFacts
	Memory      MemoryFacts
	Data        DataFacts
	LogFile     error // why log.file cannot be written; nil: it can, or there is none
	Ports       []PortFacts
	Secrets     []SecretFacts
	Login       error // why the keys cannot be used; nil: they can, or none are needed
	TLS         TLSFacts
	SQL         SQLFacts
	Redis       RedisFacts
}

// DaemonFacts say whether a daemon has this data_dir.
type DaemonFacts struct {
	Socket string
	Status *ctl.Status // nil: none has answered
	Err    error       // why not: it wraps fs.ErrNotExist, ECONNREFUSED or EACCES
}

// DescriptorFacts are about RLIMIT_NOFILE.
type DescriptorFacts struct {
	Of    string // whose limit it is
	Limit uint64 // 0: not known
	Fits  int    // connections within it
}

// KernelFacts are settings of the network. -1: not known.
type KernelFacts struct {
	Somaxconn, SynBacklog, Syncookies int
	PortLow, PortHigh                 int   // what outgoing connections get, both included
	Reserved                          []int // ports in it that they do not get
}

// ClockFacts are what the kernel knows of its clock.
type ClockFacts struct {
	Err          error // it could not be asked
	Synchronised bool
}

// MemoryFacts are in bytes; 0: not known, or no limit.
type MemoryFacts struct {
	Total, Available    uint64
	Limit               uint64 // of the control group
	Overcommit          int    // vm.overcommit_memory
	CommitLimit, Commit uint64 // where Overcommit is 2
}

// DataFacts are about data_dir, or the nearest folder above it that is there.
type DataFacts struct {
	Path        string // data_dir
	Exists      bool
	Mode        fs.FileMode
	Err         error // why files cannot be made there; nil: they can
	Free, Size  uint64
	FreeInodes  uint64
	Inodes      uint64 // 0: the file system does not count them
	FS          string // "ext4", "tmpfs", ...; "": not known
	FSProblem   Grade  // OK, Warn or Bad for a database
	FSProblemIs string
}

// PortFacts are what happened when an address was bound.
type PortFacts struct {
	Key, Addr string
	Err       error // nil: it is free
}

// SecretFacts are about a file that others must not read.
type SecretFacts struct {
	Key, Path string
	Err       error // why it could not be looked at
	Mode      fs.FileMode
}

// TLSFacts are about the certificate.
type TLSFacts struct {
	Err   error
	Until time.Time // of the first that ends
}

// SQLFacts are about the SQL store.
type SQLFacts struct {
	Place       string // without a password
	Absent      bool   // a SQLite file that is not there yet
	Err         error
	Version     string
	RoundTrip   time.Duration // median
	Skew        time.Duration // its clock minus ours
	Packet      int64         // MySQL: max_allowed_packet
	Flush       int64         // MySQL: innodb_flush_log_at_trx_commit
	Connections int64         // MySQL: max_connections
	Behind      int           // migrations that are to be applied
	Newer       bool          // a newer gameserverd has changed it
}

// RedisFacts are about the Redis store.
type RedisFacts struct {
	Embedded  bool
	Err       error
	Version   string
	RoundTrip time.Duration // median
	Role      string
	MaxMemory int64  // 0: no limit
	Policy    string // maxmemory-policy
}
