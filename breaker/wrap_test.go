package breaker_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"github.com/holdfast-go/holdfast/breaker"
)

// postgresError and mySQLError tell their states as the drivers of these databases do.
type postgresError struct{ code string }

func (e *postgresError) Error() string    { return "ERROR (SQLSTATE " + e.code + ")" }
func (e *postgresError) SQLState() string { return e.code }

type mySQLError struct {
	Number   uint16
	SQLState [5]byte
}

func (e *mySQLError) Error() string { return fmt.Sprint("Error ", e.Number) }

// TestSQL: ten look-ups of absent rows once took a database for down.
func TestSQL(t *testing.T) {
	mySQL := func(number uint16, state string) error {
		e := &mySQLError{Number: number}
		copy(e.SQLState[:], state)
		return e
	}
	var nobody *postgresError
	for _, c := range []struct {
		err  error
		want breaker.Outcome
	}{
		{nil, breaker.Success},
		{sql.ErrNoRows, breaker.Success},
		{fmt.Errorf("user 7: %w", sql.ErrNoRows), breaker.Success},
		{sql.ErrTxDone, breaker.Ignored},
		{sql.ErrConnDone, breaker.Ignored},
		{context.Canceled, breaker.Ignored},
		{context.DeadlineExceeded, breaker.Failure},
		{fmt.Errorf("dial: %w", syscall.ECONNREFUSED), breaker.Hard},
		{fmt.Errorf("dial: %w", syscall.Errno(10061)), breaker.Hard}, // the same of Windows' sockets
		{errors.New("driver: bad connection"), breaker.Failure},
		{&postgresError{"23505"}, breaker.Success},                           // unique_violation
		{fmt.Errorf("insert: %w", &postgresError{"40001"}), breaker.Success}, // serialization_failure
		{&postgresError{"42P01"}, breaker.Success},                           // undefined_table
		{&postgresError{"57014"}, breaker.Ignored},                           // query_canceled
		{&postgresError{"57P03"}, breaker.Failure},                           // cannot_connect_now
		{&postgresError{"53300"}, breaker.Failure},                           // too_many_connections
		{&postgresError{"08006"}, breaker.Failure},                           // connection_failure
		{&postgresError{"?"}, breaker.Failure},
		{nobody, breaker.Failure}, // its method panics
		{mySQL(1062, "23000"), breaker.Success},
		{fmt.Errorf("insert: %w", mySQL(1213, "40001")), breaker.Success},
		{mySQL(1040, "08004"), breaker.Failure},
		{mySQL(2006, ""), breaker.Failure},
	} {
		if got := breaker.SQL(c.err); got != c.want {
			t.Errorf("SQL(%T %+v) = %v, want %v", c.err, c.err, got, c.want)
		}
	}
}

// TestLimiter: reports are those of the oldest calls, and one that comes after the outage says
// nothing of the time after it.
func TestLimiter(t *testing.T) {
	b := newBreaker(t, breaker.Options{ConsecutiveFailures: 3, Backoff: never})
	l := breaker.NewLimiter(b)
	l.ReportResult(errDown) // of no call
	call := func(result error) error {
		err := l.Allow()
		if err == nil {
			l.ReportResult(result)
		}
		return err
	}
	for range 3 {
		if err := l.Allow(); err != nil { // under way for long
			t.Fatal(err)
		}
	}
	for range 3 {
		l.ReportResult(errDown)
	}
	wantState(t, b, breaker.Open)
	if err := call(nil); !errors.Is(err, breaker.ErrOpen) {
		t.Errorf("Allow = %v", err)
	}
	if s := b.Stats(); s.Failures != 3 || s.Rejected != 1 {
		t.Errorf("%+v", s)
	}
	b.Reset()
	for range 3 {
		if err := l.Allow(); err != nil {
			t.Fatal(err)
		}
	}
	b.ForceOpen()
	b.Reset()
	for range 3 { // they began before
		l.ReportResult(errDown)
	}
	wantState(t, b, breaker.Closed)
}
