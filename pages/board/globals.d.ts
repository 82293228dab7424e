// What the board's scripts find or leave on the page.
import type { Board } from "./board.js";

declare global {
  var Plotly: any; // of the file that replays a run
  interface Window {
    Plotly?: any;
    loopscopeBoards?: Map<string, Board>;
  }
}
