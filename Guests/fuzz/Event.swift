// SPDX-License-Identifier: Apache-2.0

import Hardware

/// The kinds of random accesses.
enum Event: UInt32, CaseIterable {
  case port, portString, configPorts, configMemory, move, command, messages, table, power, reset, interrupt,
    load, store, instruction, opcode

  var name: StaticString {
    switch self {
    case .port: "port"
    case .portString: "port-string"
    case .configPorts: "config-ports"
    case .configMemory: "config-ecam"
    case .move: "bar-move"
    case .command: "command"
    case .messages: "msi-msix"
    case .table: "msix-table"
    case .power: "power"
    case .reset: "flr"
    case .interrupt: "interrupt"
    case .load: "load"
    case .store: "store"
    case .instruction: "instruction"
    case .opcode: "random-opcode"
    }
  }

  /// The weights of the events, with a sum of 256. Resets are rare because each takes 100 ms.
  private static let weights: InlineArray<15, UInt64> = [
    32, 10, 20, 32, 14, 20, 12, 20, 3, 1, 4, 24, 20, 36, 8,
  ]

  /// Returns the event for a number below 256.
  static func of(_ number: UInt64) -> Event {
    var rest = number
    for index in weights.indices {
      if rest < weights[index] { return Event(rawValue: UInt32(index)) ?? .port }
      rest -= weights[index]
    }
    return .port
  }
}

/// The random accesses of one processor.
struct Actor {
  let processor: UInt32
  var random: Random
  /// A page of ordinary memory.
  let memory: UInt64

  init(_ processor: UInt32) {
    self.processor = processor
    random = Random(shared_load(Table.seed) &* 4 &+ UInt64(processor))
    memory = dma_page(processor)
  }

  mutating func step() {
    let event = Event.of(random.next(below: 256))
    let word = Table.events(processor, event.rawValue)
    shared_store(word, shared_load(word) + 1)
    let function = Table.function(UInt32(random.next(below: shared_load(Table.count))))
    switch event {
    case .port: port()
    case .portString: portString()
    case .configPorts: configPorts()
    case .configMemory: configMemory()
    case .move: move(function)
    case .command: command(function)
    case .messages: messages(function)
    case .table: table(function)
    case .power: power(function)
    case .reset: reset(function)
    case .interrupt: interrupt()
    case .load: load()
    case .store: store()
    case .instruction: instruction()
    case .opcode: opcode()
    }
  }

  private mutating func width() -> UInt64 { 1 << random.next(below: 4) }

  private mutating func port() {
    let port = RandomAddresses.port(&random)
    let value = random.value()
    let isOutput = random.chance(2)
    let width = UInt16(1) << UInt16(random.next(below: 3))
    guard !isOutput || RandomAddresses.takesOutput(port, width) else { return }
    switch (isOutput, width) {
    case (false, 1): _ = port_load8(port)
    case (false, 2): _ = port_load16(port)
    case (false, _): _ = port_load32(port)
    case (true, 1): port_store8(port, UInt8(truncatingIfNeeded: value))
    case (true, 2): port_store16(port, UInt16(truncatingIfNeeded: value))
    default: port_store32(port, UInt32(truncatingIfNeeded: value))
    }
  }

  /// Runs INS or OUTS with a count, on ordinary memory or a BAR.
  private mutating func portString() {
    let port = RandomAddresses.port(&random)
    let isOutput = random.chance(2)
    let width = UInt16(1) << UInt16(random.next(below: 3))
    let most: UInt64 = port & 0xFFF8 == 0x3F8 ? 16 : 1000
    let count = random.next(below: most)
    let hasMemory = random.chance(2)
    let address =
      hasMemory ? memory : isOutput ? RandomAddresses.load(&random) : RandomAddresses.store(4096, &random)
    guard let address, !isOutput || RandomAddresses.takesOutput(port, width) else { return }
    execution_clear()
    execution_append(0xF3)
    if width == 2 { execution_append(0x66) }
    execution_append((isOutput ? 0x6E : 0x6C) + (width == 1 ? 0 : 1))
    _ = execution_run(0, 0, count, UInt64(port), address, address)
  }

  /// Accesses configuration space through ports. All processors share CONFIG_ADDRESS, so only the first one
  /// writes.
  private mutating func configPorts() {
    let address = Configuration.address(&random)
    let offset = UInt16(random.next(below: 4))
    let width = UInt16(1) << UInt16(random.next(below: 3))
    let value = random.value()
    if processor == 0, random.chance(2) {
      return Configuration.storeByPorts(address & ~3, offset, width, value)
    }
    if processor == 0 {
      port_store32(
        0xCF8,
        UInt32(random.chance(8) ? 0 : 1) << 31
          | UInt32(truncatingIfNeeded: address >> 4 & 0xFF00 | address & 0xFF))
    }
    switch width {
    case 1: _ = port_load8(0xCF8 + UInt16(random.next(below: 8)))
    case 2: _ = port_load16(0xCF8 + UInt16(random.next(below: 8)))
    default: _ = port_load32(0xCF8 + UInt16(random.next(below: 8)))
    }
  }

  private mutating func configMemory() {
    let address = Configuration.address(&random)
    let width = width()
    if random.chance(2) { return Configuration.store(address, width, random.value()) }
    read(shared_load(Table.ecam) + address, width)
  }

  private func read(_ address: UInt64, _ width: UInt64) {
    switch width {
    case 1: _ = mmio_load8(address)
    case 2: _ = mmio_load16(address)
    case 4: _ = mmio_load32(address)
    default: _ = mmio_load64(address)
    }
  }

  private func write(_ address: UInt64, _ width: UInt64, _ value: UInt64) {
    switch width {
    case 1: mmio_store8(address, UInt8(truncatingIfNeeded: value))
    case 2: mmio_store16(address, UInt16(truncatingIfNeeded: value))
    case 4: mmio_store32(address, UInt32(truncatingIfNeeded: value))
    default: mmio_store64(address, value)
    }
  }

  /// Writes a BAR's registers, one half or both. A fragile function moves only by whole registers in a fixed
  /// order.
  private mutating func move(_ function: Table.Function) {
    guard let bar = function.bar(UInt8(random.next(below: 6))) else { return }
    let address = RandomAddresses.bar(function, bar, &random)
    let register = shared_load(Table.ecam) + function.base + 0x10 + UInt64(bar.index) * 4
    let order = random.next(below: 4)
    function.setAddress(bar.index, address)
    if function.isFragile, bar.is64Bit {
      // Between the two writes the BAR has an unintended address. Turn decoding off.
      let command = shared_load(Table.ecam) + function.base + 4
      let old = mmio_load16(command)
      mmio_store16(command, old & ~3)
      mmio_store32(register, UInt32(truncatingIfNeeded: address))
      mmio_store32(register + 4, UInt32(address >> 32))
      mmio_store16(command, old)
    } else if bar.is64Bit, order == 0 {
      mmio_store32(register + 4, UInt32(address >> 32))
      mmio_store32(register, UInt32(truncatingIfNeeded: address))
    } else if bar.is64Bit, order == 1 {
      mmio_store64(register, address)
    } else {
      if order == 2 { mmio_store32(register, .max) }
      mmio_store32(register, UInt32(truncatingIfNeeded: address))
      if bar.is64Bit { mmio_store32(register + 4, UInt32(address >> 32)) }
    }
  }

  private mutating func command(_ function: Table.Function) {
    let value = random.chance(3) ? 7 : random.chance(2) ? 0x506 : random.next()
    Configuration.store(function.base + 4, random.chance(4) ? 1 : 2, value)
  }

  /// Writes the control words of MSI and MSI-X, their messages and masks.
  private mutating func messages(_ function: Table.Function) {
    let capability = random.chance(2) ? function.msi : function.msix
    guard capability != 0 else { return }
    if random.chance(2) {
      return Configuration.store(function.base + UInt64(capability) + 2, 2, random.value())
    }
    let offset = random.next(below: 6) * 4
    Configuration.store(function.base + UInt64(capability) + offset, 4, random.value())
  }

  /// Accesses the MSI-X table and the PBA. The accesses may cross entries and the end.
  private mutating func table(_ function: Table.Function) {
    guard function.msix != 0 else { return }
    let base = shared_load(Table.ecam) + function.base + UInt64(function.msix)
    let register = mmio_load32(base + (random.chance(4) ? 8 : 4))
    let control = mmio_load16(base + 2)
    guard let bar = function.bar(UInt8(register & 7)), bar.isMemory else { return }
    let start = bar.home + UInt64(register & ~7)
    let length = (UInt64(control & 0x7FF) + 1) * 16
    let address = start &+ random.next(below: length + 16) &- 4
    guard address >= bar.home, address < bar.home + bar.size - 8 else { return }
    let width = width()
    if function.isFragile || random.chance(2) { return read(address, width) }
    // Unmask entries more often than random values would.
    if random.chance(2) { return mmio_store32(start + (address - bar.home) / 16 % 64 * 16 + 12, 0) }
    write(address, width, random.value())
  }

  private mutating func power(_ function: Table.Function) {
    guard function.power != 0 else { return }
    let state = random.chance(2) ? 0 : random.next(below: 4)
    Configuration.store(function.base + UInt64(function.power) + 4, random.chance(2) ? 1 : 2, state)
  }

  private mutating func reset(_ function: Table.Function) {
    if function.express != 0, random.chance(2) {
      Configuration.store(
        function.base + UInt64(function.express) + 8, 2, 1 << 15 | random.next(below: 0x8000))
    } else if function.features != 0 {
      Configuration.store(function.base + UInt64(function.features) + 4, 1, 1)
    }
  }

  /// Enables interrupts for a moment.
  private mutating func interrupt() {
    interrupts_on()
    relax()
    interrupts_off()
  }

  private mutating func load() {
    let address = RandomAddresses.load(&random)
    for _ in 0..<4 { read(address, width()) }
  }

  private mutating func store() {
    let width = width()
    guard let address = RandomAddresses.store(32, &random) else { return }
    write(address, width, random.value())
    if random.chance(2) { read(address, width) }
  }

  /// Runs an instruction of `Operation`, with operands in BARs, in ordinary memory or both.
  private mutating func instruction() {
    let wanted = random.next(below: 48)
    let count = random.chance(8) ? random.next(below: 2000) : random.next(below: 16)
    let direction = random.next(below: 3)
    let destination = direction == 0 ? memory + 1024 : RandomAddresses.store(16_384, &random)
    let source = direction == 1 ? memory : RandomAddresses.load(&random)
    guard let destination else { return }
    let isOrdinary = direction < 2
    let width = width()
    let rax = random.value()
    var index: UInt64 = 0
    Operation.forEach { operation in
      index += 1
      guard index == wanted else { return }
      operation.assemble(operation.hasSizes ? width : 4)
      // A page of ordinary memory has room for only a few iterations.
      let rcx = operation.rcx == 3 ? (isOrdinary ? min(count, 64) : count) : operation.rcx
      // BTS with a register as its bit offset would reach any address.
      let rax = operation.rax == 37 ? 37 : rax
      _ = execution_run(0, rax, rcx, 0, source, operation.isAligned ? destination & ~15 : destination)
    }
  }

  /// Runs any opcode with a memory operand in a BAR, at CPL 3 on the first processor.
  private mutating func opcode() {
    guard processor == 0, let address = RandomAddresses.store(16_384, &random) else { return }
    execution_clear()
    let prefixes: InlineArray<8, UInt8> = [0x66, 0xF2, 0xF3, 0xF0, 0x48, 0x2E, 0x67, 0x66]
    for _ in 0..<random.next(below: 3) { execution_append(prefixes[Int(random.next(below: 8))]) }
    let map = random.next(below: 4)
    if map > 0 { execution_append(0x0F) }
    if map == 3 { execution_append(random.chance(2) ? 0x38 : 0x3A) }
    let code = UInt8(truncatingIfNeeded: random.next())
    switch code {
    // Replace BT, BTS, BTR and BTC: with a bit offset in a register they reach other addresses.
    case 0xA3, 0xAB, 0xB3, 0xBB: execution_append(0x00)
    default: execution_append(code)
    }
    // ModRM: [RDI] with any register.
    execution_append(UInt8(random.next(below: 8)) << 3 | 7)
    for _ in 0..<8 { execution_append(0) }
    _ = execution_run(
      UInt32(EXECUTION_STEP), address, address, address, RandomAddresses.load(&random), address)
  }
}
