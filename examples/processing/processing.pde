// Discs that jump at each hit, for Processing (processing.org) with its library oscP5.
// Start `dance listen --osc 12000`, then this sketch.

import oscP5.*;

String[] drums = { "kick", "snare", "hihat" };
color[] colours = { #E4572E, #F3A712, #29B6C6 };
float[] presence = new float[drums.length];  // 0..1, moves many times a second while the drum sounds
float[] flash = new float[drums.length];     // jumps at a hit to how hard it was, fades here

void setup() {
  size(960, 540);
  noStroke();
  new OscP5(this, 12000);
}

void draw() {
  background(14, 14, 18);
  for (int i = 0; i < drums.length; i++) {
    float x = width * (i + 0.5) / drums.length;
    fill(colours[i], 60 + 195 * flash[i]);
    circle(x, height / 2, 80 + 260 * presence[i]);
    flash[i] *= 0.9;
  }
}

// Called beside `draw`: keep it short.
void oscEvent(OscMessage message) {
  for (int i = 0; i < drums.length; i++) {
    if (message.checkAddrPattern("/dance/" + drums[i])) flash[i] = message.get(0).floatValue();
    if (message.checkAddrPattern("/dance/presence/" + drums[i])) presence[i] = message.get(0).floatValue();
  }
}
