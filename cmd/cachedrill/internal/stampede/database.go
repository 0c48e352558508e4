package stampede

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/holdfast-go/holdfast/cmd/cachedrill/internal/workload"
)

// versionSize is the part of a value that says which one it is.
const versionSize = 8

// keyOf is the key of a rank. Its variant makes it belong to the process that it is to belong to.
func keyOf(rank, variant int) string { return fmt.Sprintf("cachedrill:%d:%d", rank, variant) }

func rankOf(key string) (int, error) {
	parts := strings.Split(key, ":")
	if len(parts) != 3 {
		return 0, strconv.ErrSyntax
	}
	return strconv.Atoi(parts[1])
}

// database is the simulated one of a side, which its processes reach over HTTP. It counts the loads
// that it is asked for.
type database struct {
	values *workload.Database
	size   int            // bytes per value
	loads  []atomic.Int64 // per rank
	loaded func()         // before each load
	free   atomic.Bool    // a load costs nothing

	listener net.Listener
	server   *http.Server
	serving  sync.WaitGroup
}

// newDatabase opens the port.
func newDatabase(ctx context.Context, o Options, ranks int, loaded func()) (*database, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	d := &database{
		values: workload.NewDatabase(ranks, o.Cost, o.Slots), size: max(o.ValueSize, versionSize), loads: make([]atomic.Int64, ranks), loaded: loaded,
		listener: listener,
	}
	d.free.Store(true)
	d.server = &http.Server{Handler: http.HandlerFunc(d.load), ReadHeaderTimeout: time.Minute}
	d.serving.Go(func() { _ = d.server.Serve(listener) })
	return d, nil
}

func (d *database) url() string { return "http://" + d.listener.Addr().String() + "/" }

func (d *database) load(w http.ResponseWriter, r *http.Request) {
	rank, err := rankOf(r.FormValue("key"))
	if err != nil || rank < 0 || rank >= len(d.loads) {
		http.Error(w, "no such key", http.StatusNotFound)
		return
	}
	version := d.values.Version(rank)
	if !d.free.Load() {
		d.loads[rank].Add(1)
		d.loaded()
		if version, err = d.values.Load(r.Context(), rank); err != nil {
			return // the caller has gone
		}
	}
	value := make([]byte, d.size)
	binary.BigEndian.PutUint64(value, uint64(version))
	_, _ = w.Write(value) // as above
}

// outdated tells of a value whether it had been replaced for longer than the grace, or is none of
// this database's.
func (d *database) outdated(rank int, value []byte, grace time.Duration) bool {
	return len(value) != d.size || d.values.Outdated(rank, int64(binary.BigEndian.Uint64(value)), grace)
}

func (d *database) close() error {
	err := d.server.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	d.serving.Wait()
	return err
}
