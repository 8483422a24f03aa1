"""What a run would cost, told before it is started."""
