"""What is served beside Streamlit: routes, the frame socket, the gate and the room."""
