package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"

	_ "modernc.org/sqlite" // the driver, in Go alone

	"github.com/holdfast-go/holdfast/autorefresh"
)

// Product is a row.
type Product struct {
	ID    int    `json:"id"`
	Name  string `json:"name"`
	Cents int    `json:"cents"`
}

// database is where products come from.
type database struct {
	sql     *sql.DB
	queries atomic.Int64
}

// lockTimeout is how long one process waits for another, in milliseconds: filling a new database
// takes seconds on a slow machine.
const lockTimeout = 60_000

// openDatabase opens an SQLite file, and fills it with products if it has none.
func openDatabase(ctx context.Context, path string, products int) (*database, error) {
	db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=busy_timeout(%d)&_txlock=immediate", path, lockTimeout))
	if err != nil {
		return nil, err
	}
	d := &database{sql: db}
	if err := d.fill(ctx, products); err != nil {
		return nil, errors.Join(fmt.Errorf("database %s: %w", path, err), db.Close())
	}
	return d, nil
}

func (d *database) fill(ctx context.Context, products int) error {
	tx, err := d.sql.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // does nothing after Commit
	const schema = `CREATE TABLE IF NOT EXISTS products (id INTEGER PRIMARY KEY, name TEXT NOT NULL, cents INTEGER NOT NULL)`
	if _, err := tx.ExecContext(ctx, schema); err != nil {
		return err
	}
	const rows = `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)
		INSERT INTO products SELECT i, 'Product ' || i, 100 + i * 7 % 10000 FROM n WHERE NOT EXISTS (SELECT 1 FROM products)`
	if _, err := tx.ExecContext(ctx, rows, products); err != nil {
		return err
	}
	return tx.Commit()
}

// load gets one product, as autorefresh asks for it.
func (d *database) load(ctx context.Context, id int, _ Product) (Product, error) {
	d.queries.Add(1)
	p := Product{ID: id}
	err := d.sql.QueryRowContext(ctx, `SELECT name, cents FROM products WHERE id = ?`, id).Scan(&p.Name, &p.Cents)
	if errors.Is(err, sql.ErrNoRows) {
		err = autorefresh.ErrNotFound
	}
	return p, err
}

func (d *database) close() error { return d.sql.Close() }
