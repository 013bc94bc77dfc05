"""What happens when servers die, freeze or lose things."""
