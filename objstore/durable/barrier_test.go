package durable

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
)

func TestBarrierSharesTheRunThatBeginsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		runs, end := 0, make(chan error)
		b := NewBarrier(func() error {
			runs++
			return <-end
		})
		var wg sync.WaitGroup
		join := func(n int, want error) {
			for range n {
				wg.Go(func() {
					if err := b.Wait(t.Context()); err != want {
						t.Errorf("error %v, want %v", err, want)
					}
				})
			}
			synctest.Wait()
		}
		join(1, nil)
		failure := errors.New("the disk does not answer")
		join(7, failure) // they want what the first run may have passed by already
		end <- nil
		end <- failure
		wg.Wait()
		if runs != 2 {
			t.Errorf("%d runs, want 2", runs)
		}
	})
}

func TestBarrierGoesOnWithoutWhoGivesUp(t *testing.T) {
	begun, end := make(chan struct{}, 2), make(chan struct{})
	b := NewBarrier(func() error {
		begun <- struct{}{}
		<-end
		return nil
	})
	first := make(chan error, 1)
	go func() { first <- b.Wait(context.Background()) }()
	<-begun
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := b.Wait(ctx); err != context.Canceled {
		t.Errorf("error %v", err)
	}
	close(end)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if err := b.Wait(context.Background()); err != nil {
		t.Errorf("after one who gave up: %v", err)
	}
}
