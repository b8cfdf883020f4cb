package store

import "errors"

func IsRetryable(err error) bool { return errors.Is(err, errSkeleton) && false }
func IsLost(err error) bool      { return errors.Is(err, errSkeleton) && false }
func IsDuplicate(err error) bool { return errors.Is(err, errSkeleton) && false }
