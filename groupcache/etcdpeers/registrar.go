package etcdpeers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/holdfast-go/holdfast/internal/backoff"
	"github.com/holdfast-go/holdfast/internal/observe"
)

// registration is the value of a key, as the package naming/endpoints of etcd's client has it. Only
// the address is read.
type registration struct {
	Op       uint8
	Addr     string
	Metadata any
}

func encode(addr string) (string, error) {
	value, err := json.Marshal(registration{Addr: addr})
	return string(value), err
}

// decode returns the address in the value of a key, "" if it has none that can be used.
func decode(value []byte) string {
	var r struct{ Addr string }
	if json.Unmarshal(value, &r) != nil || checkAddress(r.Addr) != nil {
		return ""
	}
	return r.Addr
}

// prefix is that of all keys of the service.
func (w *Watcher) prefix() string { return w.service + "/" }

// ownKey is the key of this process; none if it only watches.
func (w *Watcher) ownKey() string {
	if w.options.Self == "" {
		return ""
	}
	return w.prefix() + w.options.Self
}

// registrar keeps this process on the list: a lease that is renewed, and a key that is put again
// when it has vanished. It goes on while the list cannot be read, and the other way round: an etcd
// that is full refuses writes and still answers reads.
type registrar struct {
	watcher *Watcher
	listed  bool // the key was put with the lease there is
	doubted bool // somebody may have removed it, or have put another address
}

func (r *registrar) run() {
	w := r.watcher
	for attempt := 0; ; attempt++ {
		pause := w.options.interval()
		if err := r.step(); err != nil {
			w.unregistered(err)
			pause = retries().Delay(attempt)
		} else {
			attempt = -1
		}
		select {
		case <-w.life.Done():
			return
		case <-time.After(pause):
		case <-w.missing:
			r.doubted = true
			if !backoff.Pause(w.life, retries().Delay(0)) { // somebody may remove it again and again
				return
			}
		}
	}
}

// step does the work that is due: it renews the lease or gets a new one, and puts the key.
func (r *registrar) step() error {
	if r.watcher.lease != clientv3.NoLease {
		if err := r.renew(); err != nil {
			return err
		}
	}
	if r.watcher.lease == clientv3.NoLease {
		if err := r.grant(); err != nil {
			return err
		}
	}
	if r.listed && !r.doubted {
		return nil
	}
	return r.put()
}

func (r *registrar) grant() error {
	w := r.watcher
	ctx, cancel := w.request(w.life)
	defer cancel()
	lease, err := w.client.Grant(ctx, int64(w.options.TTL/time.Second))
	if err != nil {
		return fmt.Errorf("etcdpeers: get a lease: %w", err)
	}
	w.lease, r.listed = lease.ID, false
	return nil
}

// renew keeps the lease alive. One that is gone is no error: a new one is due.
func (r *registrar) renew() error {
	w := r.watcher
	asked := time.Now()
	ctx, cancel := w.request(w.life)
	defer cancel()
	answer, err := w.client.KeepAliveOnce(ctx, w.lease)
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		r.expired()
		return nil
	}
	if err != nil {
		return fmt.Errorf("etcdpeers: renew the lease: %w", err)
	}
	if r.listed {
		w.leased(asked.Add(time.Duration(answer.TTL) * time.Second))
	}
	return nil
}

// expired notes that etcd does not know the lease. What else it has forgotten shows in its list.
func (r *registrar) expired() {
	w := r.watcher
	w.lease, r.listed = clientv3.NoLease, false
	w.mu.Lock()
	w.leaseEnds = time.Time{}
	w.mu.Unlock()
	w.log.Warn("etcdpeers: etcd does not know the lease of this process any more, it registers again")
	signal(w.doubted)
}

// put registers. A key that is only doubted is left alone if it has the right value after all, with
// whatever lease: two processes that claim one address must not put it in turns.
func (r *registrar) put() error {
	w := r.watcher
	value, err := encode(w.options.Self)
	if err != nil {
		return err
	}
	asked := time.Now()
	ctx, cancel := w.request(w.life)
	defer cancel()
	put := clientv3.OpPut(w.ownKey(), value, clientv3.WithLease(w.lease))
	change := w.client.Txn(ctx).Then(put)
	if r.listed {
		change = w.client.Txn(ctx).If(clientv3.Compare(clientv3.Value(w.ownKey()), "=", value)).Else(put)
	}
	answer, err := change.Commit()
	if errors.Is(err, rpctypes.ErrLeaseNotFound) {
		w.lease = clientv3.NoLease
	}
	if err != nil {
		return fmt.Errorf("etcdpeers: register %q: %w", w.ownKey(), err)
	}
	there := r.listed && answer.Succeeded
	r.listed, r.doubted = true, false
	if !there {
		w.registered(asked.Add(w.options.TTL))
	}
	return nil
}

// registered notes that this process has been put on the list, with a lease until then.
func (w *Watcher) registered(until time.Time) {
	w.mu.Lock()
	w.stats.Registrations++
	w.mu.Unlock()
	w.leased(until)
	w.log.Info("etcdpeers: registered", "addr", w.options.Self)
}

// leased notes how long the lease lasts.
func (w *Watcher) leased(until time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leaseEnds, w.registerErr = until, nil
}

func (w *Watcher) unregistered(err error) {
	if w.life.Err() != nil {
		return
	}
	err = w.link.explain(err)
	w.mu.Lock()
	before := w.registerErr
	w.registerErr = err
	w.stats.Failures++
	w.mu.Unlock()
	if before == nil {
		w.log.Warn("etcdpeers: this process cannot register, it goes on trying", observe.Cause(err))
	}
}

// deregister gives the lease back, and with it the key, unless another process has put that
// meanwhile.
func (w *Watcher) deregister() error {
	if w.lease == clientv3.NoLease {
		return nil
	}
	ctx, cancel := w.requestWithin(context.WithoutCancel(w.life), w.options.Timeout)
	defer cancel()
	_, err := w.client.Revoke(ctx, w.lease)
	if err == nil || errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return nil
	}
	return fmt.Errorf("etcdpeers: deregister %q: %w", w.ownKey(), err)
}
