package commit

import (
	"strings"

	"gameserverd/internal/store"
)

// statement is the text of an SQL statement, which a session prepares once and finds again by the pointer.
type statement struct{ text string }

// The statements that are the same everywhere, and for one row or none.
var (
	// Purpose: no transaction of this session waits longer than a second for another's lock, so that it ends before Timeout and not
	// half a minute after nobody waits for it any more. Index: none. Returns nothing. MySQL only; in SQLite the store queues writers.
	lockWait = &statement{"SET SESSION innodb_lock_wait_timeout = 1"}

	// Purpose: 16 MiB of pages for the one connection that writes, not 2, so that what a batch reads and changes is mostly there. Index:
	// none. Returns nothing. SQLite only.
	pageCache = &statement{"PRAGMA cache_size = -16384"}

	// Purpose: runs of processes that are long over. Index: none, writers has a row for each run of a day. Returns their ids.
	staleWriters = &statement{"SELECT writer FROM writers WHERE at_ms < ? LIMIT 1000"}

	// Purpose: forget one of them; by its key, so that no row of a live process is locked. Index: primary key. Returns nothing.
	deleteWriter = &statement{"DELETE FROM writers WHERE writer = ? AND at_ms < ?"}

	// Purpose: make what resolve has read durable, by a change that is flushed after it. Index: primary key. Returns nothing.
	touchWriter = &statement{"UPDATE writers SET at_ms = at_ms + 1 WHERE writer = ?"}
)

// maxPlaceholders is how many ? a prepared statement of MySQL may have.
const maxPlaceholders = 65535

// dialect makes statements in the words of one driver and keeps them. Tables and sizes are few: sizes come from the ladder. Runner
// only.
type dialect struct {
	mysql  bool
	ladder []int // numbers of rows that statements are made for, falling; the last is 1
	kept   map[statementKey]*statement
	mark   *statement
	marked *statement
}

type statementKey struct {
	kind  kind
	table *Table
	rows  int
}

type kind uint8

const (
	upsertRows kind = iota
	insertRows
	deleteRows
	fenceRows
	takeRows
	overRows
)

func newDialect(driver store.Driver, batchRows int) *dialect {
	d := &dialect{mysql: driver == store.MySQL, kept: make(map[statementKey]*statement), ladder: []int{batchRows}}
	power := 1
	for power*2 < batchRows {
		power *= 2
	}
	for ; power > 0; power /= 2 {
		if power < batchRows {
			d.ladder = append(d.ladder, power)
		}
	}
	// Purpose: the number of the transaction that writes this, for resolve; and its lock, which a later transaction of this run waits
	// for. Index: primary key. Returns nothing.
	d.mark = &statement{"INSERT INTO writers (writer, seq, at_ms) VALUES (?, ?, ?)" + d.onConflict([]string{"writer"}, []string{"seq", "at_ms"})}
	// Purpose: the number of this run's last committed transaction, once no transaction is left that may commit another. Index:
	// primary key. Returns one row, or none.
	d.marked = &statement{"SELECT seq FROM writers WHERE writer = ?" + d.forUpdate()}
	return d
}

// down is the largest size of the ladder that is not above n.
func (d *dialect) down(n int) int {
	for _, size := range d.ladder {
		if size <= n {
			return size
		}
	}
	return 1
}

// up is the smallest size of the ladder that is not below n, or n above the ladder.
func (d *dialect) up(n int) int {
	best := n
	for _, size := range d.ladder {
		if size < n {
			break
		}
		best = size
	}
	return best
}

// most is how many rows a statement of a kind has at most. In MySQL a batch is best written whole. In SQLite 64 rows cost a quarter of
// 64 statements, and more gain nothing; what finds its rows by a list does so one by one. A DELETE of MySQL has no byKey, and for a
// long list it would read the whole of a table that it takes for small.
func (d *dialect) most(k kind) int {
	switch {
	case k == upsertRows || k == insertRows:
		if d.mysql {
			return d.ladder[0]
		}
		return min(64, d.ladder[0])
	case !d.mysql:
		return 1
	case k == deleteRows:
		return min(64, d.ladder[0])
	}
	return d.ladder[0]
}

// statement returns the statement of a kind for so many rows.
func (d *dialect) statement(k kind, t *Table, rows int) *statement {
	key := statementKey{k, t, rows}
	s := d.kept[key]
	if s == nil {
		s = &statement{}
		switch k {
		case upsertRows:
			s.text = d.insert(t, rows) + d.onConflict(t.key, t.columns)
		case insertRows:
			s.text = d.insert(t, rows)
		case deleteRows:
			s.text = d.delete(t, rows)
		case fenceRows:
			s.text = d.fence(rows)
		case takeRows:
			s.text = d.take(rows)
		case overRows:
			s.text = d.deleteOver(t)
		}
		d.kept[key] = s
	}
	return s
}

// Purpose: new rows of one table. Index: primary key; every unique key is checked. Returns nothing.
func (d *dialect) insert(t *Table, rows int) string {
	return "INSERT INTO " + t.name + " (" + strings.Join(t.all, ", ") + ") VALUES " + list("("+list("?", len(t.all))+")", rows)
}

// onConflict makes an insert an upsert. VALUES(x) and not MySQL's newer `AS n`, which MariaDB does not know.
func (d *dialect) onConflict(key, columns []string) string {
	var b strings.Builder
	switch {
	case d.mysql && len(columns) == 0:
		return " ON DUPLICATE KEY UPDATE " + key[0] + " = " + key[0]
	case d.mysql:
		b.WriteString(" ON DUPLICATE KEY UPDATE ")
	case len(columns) == 0:
		return " ON CONFLICT (" + strings.Join(key, ", ") + ") DO NOTHING"
	default:
		b.WriteString(" ON CONFLICT (" + strings.Join(key, ", ") + ") DO UPDATE SET ")
	}
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		if d.mysql {
			b.WriteString(c + " = VALUES(" + c + ")")
		} else {
			b.WriteString(c + " = excluded." + c)
		}
	}
	return b.String()
}

// Purpose: remove rows of one table. Index: primary key, a range for each row. Returns nothing.
func (d *dialect) delete(t *Table, rows int) string {
	if len(t.key) == 1 {
		return "DELETE FROM " + t.name + " WHERE " + t.key[0] + " IN (" + list("?", rows) + ")"
	}
	one := "(" + strings.Join(t.key, " = ? AND ") + " = ?)"
	return "DELETE FROM " + t.name + " WHERE " + strings.Repeat(one+" OR ", rows-1) + one
}

// Purpose: remove one row of a table that is Expiring, if it is over. Index: primary key. Returns nothing.
func (d *dialect) deleteOver(t *Table) string {
	return "DELETE FROM " + t.name + " WHERE " + strings.Join(t.key, " = ? AND ") + " = ? AND " + t.over + " <= ?"
}

// Purpose: the versions of players, which stay as they are until this transaction ends. Index: primary key. Returns uid, version of
// those that are there.
func (d *dialect) fence(rows int) string {
	return "SELECT uid, version FROM players" + d.byKey() + " WHERE uid IN (" + list("?", rows) + ")" + d.forUpdate()
}

// Purpose: take players over, each with its own seen_ms. Index: primary key. Returns nothing.
func (d *dialect) take(rows int) string {
	if rows == 1 {
		return "UPDATE players SET version = version + 1, seen_ms = ? WHERE uid = ?"
	}
	return "UPDATE players" + d.byKey() + " SET version = version + 1, seen_ms = CASE uid" + strings.Repeat(" WHEN ? THEN ?", rows) +
		" ELSE seen_ms END WHERE uid IN (" + list("?", rows) + ")"
}

// byKey keeps MySQL from reading the whole table where it takes it for small: it would lock each row on its way, and wait for those
// that another process has.
func (d *dialect) byKey() string {
	if d.mysql {
		return " FORCE INDEX (PRIMARY)"
	}
	return ""
}

// forUpdate locks what is read. In SQLite the transaction holds the whole database.
func (d *dialect) forUpdate() string {
	if d.mysql {
		return " FOR UPDATE"
	}
	return ""
}

// list is s n times, with commas between.
func list(s string, n int) string { return strings.Repeat(s+", ", n-1) + s }
