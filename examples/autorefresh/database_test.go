package main

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Processes that begin at the same time open a new database together: the change of its journal's
// mode did not wait for the others, and one of them ended.
func TestProcessesOpenANewDatabaseTogether(t *testing.T) {
	for round := range 10 {
		path := filepath.Join(t.TempDir(), fmt.Sprint(round, ".db"))
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				d, err := openDatabase(t.Context(), path, 1000)
				if err != nil {
					t.Error(err)
					return
				}
				if p, err := d.load(t.Context(), 42, Product{}); err != nil || p.Name != "Product 42" {
					t.Errorf("%+v, %v", p, err)
				}
				_ = d.close()
			})
		}
		all.Wait()
	}
}

// On a machine with much to do it takes one process more than 5 s to fill a new database. The next
// one waited that long, and ended.
func TestASlowStartIsWaitedFor(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "slow.db")
	first, err := openDatabase(t.Context(), path, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = first.close() }()
	filling, err := first.sql.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(5500*time.Millisecond, func() { _ = filling.Commit() })
	second, err := openDatabase(t.Context(), path, 1)
	if err != nil {
		t.Fatal(err)
	}
	_ = second.close()
}
