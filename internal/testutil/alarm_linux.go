package testutil

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// wakeUp is about what passes between the moment a timer fires and the moment its user runs.
const wakeUp = 25 * time.Microsecond

// alarm wakes its one user at a given time. The runtime's own timers are late by up to a
// millisecond when nothing else is to be done, which is more than the delays a proxy has to make; a
// timer of the kernel is exact to some microseconds, and waiting for it costs no processor time.
type alarm struct {
	mu     sync.Mutex
	timer  *os.File // guarded by mu; a timerfd, made when first needed
	closed bool     // guarded by mu
}

// timerSpec is the kernel's struct itimerspec.
type timerSpec struct{ interval, value syscall.Timespec }

// file returns the timer, or an error when the alarm is closed or the kernel has no such timers.
func (a *alarm) file() (*os.File, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return nil, os.ErrClosed
	}
	if a.timer != nil {
		return a.timer, nil
	}
	const monotonic = 1
	fd, _, errno := syscall.Syscall(syscall.SYS_TIMERFD_CREATE, monotonic, syscall.O_NONBLOCK|syscall.O_CLOEXEC, 0)
	if errno != 0 {
		return nil, os.NewSyscallError("timerfd_create", errno)
	}
	a.timer = os.NewFile(fd, "timer")
	return a.timer, nil
}

// wait waits until due. It returns false if the alarm is closed first; done is closed at the same
// time.
func (a *alarm) wait(due time.Time, done <-chan struct{}) bool {
	d := time.Until(due) - wakeUp
	if d <= 0 {
		yieldUntil(due)
		return true
	}
	timer, err := a.file()
	if err == nil {
		err = waitTimer(timer, d)
	}
	switch {
	case err == nil:
		yieldUntil(due)
		return true
	case errors.Is(err, os.ErrClosed):
		return false
	default:
		return waitRuntime(due, done)
	}
}

// yieldUntil waits for less than wakeUp while it lets others run.
func yieldUntil(due time.Time) {
	for time.Now().Before(due) {
		runtime.Gosched()
	}
}

// waitTimer sets the timer and waits until it fires.
func waitTimer(timer *os.File, d time.Duration) error {
	raw, err := timer.SyscallConn()
	if err != nil {
		return err
	}
	spec := timerSpec{value: syscall.NsecToTimespec(int64(d))}
	var errno syscall.Errno
	err = raw.Control(func(fd uintptr) {
		_, _, errno = syscall.Syscall6(syscall.SYS_TIMERFD_SETTIME, fd, 0, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
	})
	if err != nil {
		return err
	}
	if errno != 0 {
		return os.NewSyscallError("timerfd_settime", errno)
	}
	var fired [8]byte
	_, err = timer.Read(fired[:])
	return err
}

// close wakes the user.
func (a *alarm) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if a.timer != nil {
		_ = a.timer.Close() // a timer has nothing to lose
	}
}
