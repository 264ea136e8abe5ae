"""What a cache keeps: pins, removal, and the room that there is."""
