"""Networks and geometry: from pictures to faces and what they show."""
