package main

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
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
