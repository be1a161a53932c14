// SPDX-License-Identifier: Apache-2.0

@testable import Gate

/// Visits every state of a world, breadth first.
struct GateExplorer<Machine: GateMachine> {
  typealias World = GateWorld<Machine>

  /// The number of states.
  private(set) var count = 0
  /// The number of steps between them.
  private(set) var steps = 0
  /// The number of steps from the start to the farthest state.
  private(set) var depth = 0
  /// The first problem and the shortest path to it, or nil if there is none.
  private(set) var problem: String?
  /// True if all windows are open in some state.
  private(set) var canOpenAll = false

  /// Explores until all states are known or a problem is found.
  init(_ machine: Machine, owner fault: OwnerFault? = nil) {
    var worlds = [World(machine)]
    var numbers = [worlds[0]: 0]
    var origins: [(Int, World.Step)?] = [nil]
    var predecessors: [[Int32]] = [[]]
    var level = 0
    var levelEnd = 1
    var next = 0
    while next < worlds.count {
      if next == levelEnd {
        level += 1
        levelEnd = worlds.count
      }
      for step in worlds[next].steps(fault) {
        var world = worlds[next]
        world.take(step, owner: fault)
        steps += 1
        if let text = world.problem {
          problem = "\(text), after \(Self.path(to: next, origins) + "\(step)")"
          count = worlds.count
          return
        }
        if let known = numbers[world] {
          predecessors[known].append(Int32(next))
        } else {
          numbers[world] = worlds.count
          worlds.append(world)
          origins.append((next, step))
          predecessors.append([Int32(next)])
        }
      }
      next += 1
    }
    count = worlds.count
    depth = level
    checkReopening(worlds, predecessors, origins)
  }

  /// Checks that every window can open again from every state in which the device is alive.
  private mutating func checkReopening(
    _ worlds: [World], _ predecessors: [[Int32]], _ origins: [(Int, World.Step)?]
  ) {
    var reaches = worlds.map(\.isOpen)
    var pending = reaches.indices.filter { reaches[$0] }
    canOpenAll = !pending.isEmpty
    while let target = pending.popLast() {
      for source in predecessors[target] where !reaches[Int(source)] {
        reaches[Int(source)] = true
        pending.append(Int(source))
      }
    }
    if let stuck = worlds.indices.first(where: { !reaches[$0] && worlds[$0].isAlive }) {
      problem = "no path back to open, after \(Self.path(to: stuck, origins))"
    }
  }

  private static func path(to world: Int, _ origins: [(Int, World.Step)?]) -> String {
    var path = ""
    var at = world
    while let (origin, step) = origins[at] {
      path = "\(step), \(path)"
      at = origin
    }
    return path
  }
}
